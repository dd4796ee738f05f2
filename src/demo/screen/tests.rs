//! The screen shows every node, link and level, and ends on the right keys.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyEvent;

use super::*;
use crate::demo::board::{Health, Phase, Picture, Seat, View};
use crate::demo::score::{Cell, Totals};

fn picture() -> Picture {
    let seat = |number: usize| Seat {
        name: format!("site{}-{}", number / 3, number % 3 + 1),
        site: number / 3,
        resp: ([127, 0, 0, 1], 40_000 + number as u16).into(),
        health: Health::Up,
        view: Some(View {
            contexts_equal: true,
            digests_equal: true,
            recent: 4321,
            residuals: 7,
            rows: 9,
            converged: false,
            nodes: 9,
        }),
        door: None,
    };
    Picture {
        phase: Phase::Split,
        waiting: "waiting for both sides to notice".to_owned(),
        seats: (0..9).map(seat).collect(),
        sites: 3,
        cut: None,
        story: vec![
            "An older paragraph.".to_owned(),
            "The last paragraph.".to_owned(),
        ],
        elapsed: Duration::from_secs(42),
    }
}

fn drawn(picture: &Picture, table: &[[Cell; 3]; 4]) -> String {
    let mut terminal = Terminal::new(TestBackend::new(110, 30)).expect("a terminal in memory");
    let totals = Totals {
        operations: 1234,
        acknowledged: 1200,
        refused: 30,
        unknown: 4,
    };
    terminal
        .draw(|frame| draw::draw(frame, picture, table, totals))
        .expect("drawn");
    terminal.backend().to_string()
}

fn line(screen: &str, word: &str) -> String {
    screen
        .lines()
        .find(|line| line.contains(word))
        .unwrap_or_else(|| panic!("no {word} in\n{screen}"))
        .to_owned()
}

#[test]
fn every_node_every_link_and_every_level_is_seen() {
    let mut table = [[Cell::default(); 3]; 4];
    table[2][1] = Cell {
        ok: 77,
        failed: 2,
        p50_ms: 41.2,
        p99_ms: 80.9,
    };
    let screen = drawn(&picture(), &table);
    assert!(
        line(&screen, "quorate demo").contains(
            "3/6 One datacenter is cut off  42 s  1234 operations, 30 refused, 4 unknown"
        ),
        "{screen}"
    );
    for number in 0..9 {
        let row = line(&screen, &format!("site{}-{}", number / 3, number % 3 + 1));
        assert!(
            row.contains(&format!("{}", 40_000 + number))
                && row.contains("up")
                && row.contains("4321"),
            "{row}"
        );
    }
    assert!(
        line(&screen, "oregon  ").contains("120 ms") || line(&screen, "│oregon").contains("120 ms"),
        "{screen}"
    );
    assert!(
        line(&screen, "│QUORUM").contains("77 + 2, 41/81"),
        "{screen}"
    );
    assert!(
        screen.contains("The last paragraph.") && !screen.contains("An older paragraph."),
        "{screen}"
    );
    assert!(screen.contains("waiting for both sides to notice"));
}

#[test]
fn a_cut_and_a_crash_are_marked() {
    let mut picture = picture();
    let whole = drawn(&picture, &Default::default());
    assert!(
        line(&whole, "site2-1").contains("up")
            && !whole.contains("✂")
            && !whole.contains("CRASHED"),
        "{whole}"
    );
    picture.cut = Some(2);
    picture.seats[4].health = Health::Crashed;
    picture.seats[4].view = None;
    picture.seats[0].view = picture.seats[0].view.map(|view| View {
        contexts_equal: false,
        ..view
    });
    let screen = drawn(&picture, &Default::default());
    assert_eq!(screen.matches("✂ cut").count(), 4, "{screen}");
    assert_eq!(screen.matches("│site2").count(), 3);
    assert!(
        line(&screen, "site2-1").contains("cut off")
            && line(&screen, "site1-2").contains("CRASHED"),
        "{screen}"
    );
    assert!(
        line(&screen, "site0-1").contains("differ") && !line(&screen, "site0-2").contains("differ"),
        "{screen}"
    );
}

#[test]
fn a_screen_too_small_is_still_drawn() {
    for (width, height) in [(1, 1), (20, 5), (80, 24)] {
        let mut terminal =
            Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal
            .draw(|frame| draw::draw(frame, &picture(), &Default::default(), Totals::default()))
            .expect("drawn");
    }
}

#[test]
fn q_escape_and_control_c_end_the_demo_and_nothing_else_does() {
    let press = |code, modifiers| wants_out(&Event::Key(KeyEvent::new(code, modifiers)));
    assert!(press(KeyCode::Char('q'), KeyModifiers::NONE));
    assert!(press(KeyCode::Esc, KeyModifiers::NONE));
    assert!(press(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!press(KeyCode::Char('c'), KeyModifiers::NONE));
    assert!(!wants_out(&Event::Resize(80, 24)));
}
