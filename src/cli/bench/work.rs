//! Runs one connection, in a closed loop (as fast as answers come) or an open one (as fast as
//! requests are due).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::load::{Choices, Load};
use super::pace::Pace;
use super::record::Recorder;
use crate::cli::fail::Failure;
use crate::faces::resp::client::{Client, ClientError, Options, Value};

/// How long a client waits before it reconnects.
const REDIAL: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    client: Client,
    address: String,
    options: Options,
    load: Rc<Load>,
    choices: Choices,
    /// Requests that are queued or sent and not yet answered, in order.
    under_way: VecDeque<UnderWay>,
}

struct UnderWay {
    began: Instant,
    /// The number of its replies.
    replies: u32,
    /// The replies received so far.
    come: u32,
    failed: bool,
}

impl Worker {
    pub(super) async fn connect(
        number: u32,
        address: String,
        options: Options,
        load: Rc<Load>,
    ) -> Result<Self, Failure> {
        let client =
            Client::connect(&address, options.clone())
                .await
                .map_err(|cause| match cause {
                    ClientError::Refused(refusal) => Failure::Refused(refusal),
                    cause => Failure::Unreachable {
                        address: address.as_str().into(),
                        cause,
                    },
                })?;
        Ok(Self {
            client,
            address,
            options,
            load,
            choices: Choices::of_client(number),
            under_way: VecDeque::new(),
        })
    }

    pub(super) async fn preload(&mut self) -> Result<(), Failure> {
        self.load
            .preload(&mut self.client)
            .await
            .map_err(|cause| match cause {
                ClientError::Refused(refusal) => Failure::Refused(refusal),
                cause => Failure::Unanswered(cause),
            })
    }

    /// Sends a pipeline, waits for all its answers, and repeats.
    pub(super) async fn closed_loop(mut self, recorder: &RefCell<Recorder>) {
        let (pipeline, end) = (self.load.pipeline(), recorder.borrow().window.end);
        while Instant::now() < end {
            let began = Instant::now();
            for _ in 0..pipeline {
                self.begin(began);
            }
            if let Err(cause) = self.finish_all(recorder).await {
                self.recover(&cause, recorder, end).await;
            }
        }
    }

    async fn finish_all(&mut self, recorder: &RefCell<Recorder>) -> Result<(), ClientError> {
        self.client.flush().await?;
        while !self.under_way.is_empty() {
            self.finish_one(recorder).await?;
        }
        Ok(())
    }

    /// Sends each request when it is due, or afterwards as soon as fewer than `pipeline` are under
    /// way.
    pub(super) async fn open_loop(mut self, pace: Arc<Pace>, recorder: &RefCell<Recorder>) {
        let end = recorder.borrow().window.end;
        let mut ended = false;
        while !(ended && self.under_way.is_empty()) {
            match self.step(&pace, recorder, &mut ended).await {
                Ok(()) => {}
                Err(cause) => self.recover(&cause, recorder, end).await,
            }
        }
    }

    async fn step(
        &mut self,
        pace: &Pace,
        recorder: &RefCell<Recorder>,
        ended: &mut bool,
    ) -> Result<(), ClientError> {
        let pipeline = self.load.pipeline() as usize;
        while self.under_way.len() < pipeline
            && let Some(intended) = pace.try_take()
        {
            self.begin(intended);
        }
        self.client.flush().await?;
        if self.under_way.len() == pipeline || *ended {
            return self.finish_one(recorder).await;
        }
        if self.under_way.is_empty() {
            match pace.take().await {
                Some(intended) => self.begin(intended),
                None => *ended = true,
            }
            return Ok(());
        }
        tokio::select! {
            biased;
            reply = self.client.receive() => self.note(&reply?, recorder),
            due = pace.take() => match due {
                Some(intended) => self.begin(intended),
                None => *ended = true,
            },
        }
        Ok(())
    }

    fn begin(&mut self, began: Instant) {
        let replies = self.load.queue(&mut self.client, &mut self.choices);
        self.under_way.push_back(UnderWay {
            began,
            replies,
            come: 0,
            failed: false,
        });
    }

    async fn finish_one(&mut self, recorder: &RefCell<Recorder>) -> Result<(), ClientError> {
        if !self.under_way.is_empty() {
            let reply = self.client.receive().await?;
            self.note(&reply, recorder);
        }
        Ok(())
    }

    /// Counts a reply. A request is complete with its last reply.
    fn note(&mut self, reply: &Value, recorder: &RefCell<Recorder>) {
        let Some(request) = self.under_way.front_mut() else {
            return;
        };
        if let Value::Error(refusal) = reply {
            recorder.borrow_mut().heard(&refusal.to_string());
        }
        request.come += 1;
        request.failed |= !self.load.accepts(reply, request.come);
        if request.come < request.replies {
            return;
        }
        let (mut recorder, now) = (recorder.borrow_mut(), Instant::now());
        if request.failed {
            recorder.failed(1, now);
        } else {
            recorder.done(request.began, now);
        }
        self.under_way.pop_front();
    }

    /// Reconnects until a server answers or the run is over. Requests that were under way are lost.
    async fn recover(&mut self, cause: &ClientError, recorder: &RefCell<Recorder>, end: Instant) {
        recorder
            .borrow_mut()
            .failed(self.under_way.len().max(1) as u64, Instant::now());
        recorder.borrow_mut().heard(&cause.to_string());
        self.under_way.clear();
        tracing::debug!(%cause, address = self.address, "connection lost");
        while Instant::now() < end {
            match Client::connect(&self.address, self.options.clone()).await {
                Ok(client) => {
                    self.client = client;
                    return;
                }
                Err(_still_away) => tokio::time::sleep(REDIAL).await,
            }
        }
    }
}
