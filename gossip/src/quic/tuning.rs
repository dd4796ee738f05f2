//! Settings of QUIC connections. "Measured" means on two cores over loopback, between two
//! processes; a guess is yet to be measured.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use quinn::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
};

/// The largest UDP payload on loopback and jumbo links. Measured: 0.6 times the CPU per KiB of the
/// default. It is not larger, because ten such segments must fit into the 64 KiB of one
/// segmentation-offload send: beyond that, every batch is lost.
const JUMBO_BYTES: u16 = 6500;
/// The UDP payload that every path must carry, according to QUIC.
const SMALLEST_BYTES: u16 = 1200;
/// Bytes in flight on short links. Measured: larger windows lose packets in socket buffers, and
/// cost 2.5 instead of 0.9 CPU seconds per GiB.
const NEAR_WINDOW: u32 = 1024 * 1024;
/// Bytes in flight on long links: 8 MiB is 80 ms at 100 MB/s.
const FAR_WINDOW: u32 = 8 * 1024 * 1024;
/// Packets per acknowledgement. Measured: 0.66 times the CPU at 1 KiB frames.
const ACK_EVERY: u32 = 10;
/// A connection that is silent for this long is closed. Membership notices a dead node sooner; this
/// frees the resources. A guess.
const IDLE: Duration = Duration::from_secs(4);
/// How often an idle connection sends something: a quarter of [`IDLE`], so three packets may be
/// lost.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The assumed round trip before any is measured: the first retransmission comes after three of
/// these. A guess between a rack and an ocean.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// The kind of network between the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Large packets and small windows between addresses of this machine, ordinary ones elsewhere.
    #[default]
    Auto,
    /// Ordinary packets (found by probing, up to 1452 bytes) and large windows everywhere.
    Wan,
    /// Packets up to 6500 bytes, found by probing, and small windows. For links that an operator
    /// knows can carry them.
    Jumbo,
}

/// How the connections of one endpoint are set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    pub(super) profile: Profile,
    /// Whether this endpoint listens on a loopback address.
    pub(super) local: bool,
    /// Whether datagrams are delayed and cut one by one.
    pub(super) shaped: bool,
}

impl Tuning {
    fn jumbo(self) -> bool {
        !self.shaped
            && (self.profile == Profile::Jumbo || (self.profile == Profile::Auto && self.local))
    }

    pub(super) fn endpoint(self) -> EndpointConfig {
        let mut config = EndpointConfig::default();
        if self.jumbo() {
            config
                .max_udp_payload_size(JUMBO_BYTES)
                .expect("invariant: 6500 lies within QUIC's bounds");
        }
        config
    }

    /// The settings of a connection to `remote`.
    pub(super) fn transport(self, remote: SocketAddr) -> Arc<TransportConfig> {
        let near = self.jumbo() && (self.profile == Profile::Jumbo || remote.ip().is_loopback());
        let window = if near { NEAR_WINDOW } else { FAR_WINDOW };
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
        acks.max_ack_delay(Some(Duration::from_millis(5)));
        let mut discovery = MtuDiscoveryConfig::default();
        if near {
            discovery.upper_bound(JUMBO_BYTES);
        }
        let mut config = TransportConfig::default();
        config
            .max_concurrent_uni_streams(VarInt::from_u32(3))
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .stream_receive_window(VarInt::from_u32(window))
            .receive_window(VarInt::from_u32(3 * window))
            .send_window(u64::from(window))
            .initial_mtu(if near && self.profile == Profile::Auto {
                JUMBO_BYTES
            } else {
                SMALLEST_BYTES
            })
            .mtu_discovery_config(Some(discovery))
            .ack_frequency_config(Some(acks))
            .max_idle_timeout(Some(
                IdleTimeout::try_from(IDLE).expect("invariant: four seconds fit"),
            ))
            .keep_alive_interval(Some(KEEP_ALIVE))
            .initial_rtt(INITIAL_RTT)
            .enable_segmentation_offload(!self.shaped);
        Arc::new(config)
    }
}
