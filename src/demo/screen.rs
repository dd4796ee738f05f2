//! The live screen: draws the board a few times a second.

mod draw;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::watch;

use super::board::Board;

/// How often the screen is drawn, and how soon a key press is noticed.
const REFRESH: Duration = Duration::from_millis(200);

/// The terminal while the demo uses it. It is restored when this is dropped, and by the panic hook.
pub(super) struct Screen {
    over: Arc<AtomicBool>,
    quit: watch::Receiver<bool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Screen {
    /// Takes over the terminal, on a separate thread because reading keys blocks.
    pub(super) fn open(board: &Arc<Board>) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let over = Arc::new(AtomicBool::new(false));
        let (sender, quit) = watch::channel(false);
        let (board, ended) = (Arc::clone(board), Arc::clone(&over));
        let thread = std::thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || run(terminal, &board, &ended, &sender));
        match thread {
            Ok(thread) => Ok(Self {
                over,
                quit,
                thread: Some(thread),
            }),
            Err(error) => {
                ratatui::restore();
                Err(error)
            }
        }
    }

    /// Completes when the user quits or the terminal is gone.
    pub(super) fn quit(&self) -> impl Future<Output = ()> + use<> {
        let mut quit = self.quit.clone();
        async move { drop(quit.wait_for(|quit| *quit).await) }
    }

    /// Restores the terminal.
    pub(super) async fn close(mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // An error of the terminal has already ended the demo.
            drop(tokio::task::spawn_blocking(move || drop(thread.join())).await);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        ratatui::restore();
    }
}

/// Draws and reads keys until `over` is set. Dropping the sender of `quit` ends the demo as well.
fn run(
    mut terminal: ratatui::DefaultTerminal,
    board: &Board,
    over: &AtomicBool,
    quit: &watch::Sender<bool>,
) -> io::Result<()> {
    while !over.load(Ordering::Relaxed) {
        let (picture, table, totals) =
            (board.picture(), board.scores.table(), board.scores.totals());
        terminal.draw(|frame| draw::draw(frame, &picture, &table, totals))?;
        if event::poll(REFRESH)? && wants_out(&event::read()?) {
            quit.send_replace(true);
        }
    }
    Ok(())
}

/// `q`, escape, or control-C, which would interrupt if the terminal did not pass on every key.
fn wants_out(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests;
