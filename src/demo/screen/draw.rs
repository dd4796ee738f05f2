//! The layout of the screen. Pure: takes a picture, fills cells.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell as TableCell, Paragraph, Row, Table, Wrap};

use crate::demo::board::{Health, Picture, Seat};
use crate::demo::score::{Cell, LEVELS, SIDES, Totals};
use crate::demo::wan;

const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const BUSY: Style = Style::new().fg(Color::Yellow);
const QUIET: Style = Style::new().fg(Color::DarkGray);
/// Width of the table of nodes, in columns. The links get the rest.
const NODES_WIDTH: u16 = 58;

/// Draws the whole screen.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    picture: &Picture,
    table: &[[Cell; 3]; 4],
    totals: Totals,
) {
    let nodes = picture.seats.len().max(picture.sites + 1) as u16 + 3;
    let levels = LEVELS.len() as u16 + 3;
    let [head, upper, middle, lower] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(nodes),
        Constraint::Length(levels),
        Constraint::Min(0),
    ])
    .areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Length(NODES_WIDTH), Constraint::Min(0)]).areas(upper);
    frame.render_widget(headline(picture, totals), head);
    draw_nodes(frame, left, picture);
    draw_links(frame, right, picture);
    draw_levels(frame, middle, table);
    draw_story(frame, lower, picture);
}

fn headline(picture: &Picture, totals: Totals) -> Line<'static> {
    let Totals {
        operations,
        refused,
        unknown,
        ..
    } = totals;
    Line::from(vec![
        Span::from(" quorate demo ").bold().reversed(),
        Span::from(format!(
            " {}/6 {}",
            picture.phase as usize + 1,
            picture.phase.title()
        ))
        .bold(),
        Span::from(format!("  {} s", picture.elapsed.as_secs())),
        Span::styled(
            format!("  {operations} operations, {refused} refused, {unknown} unknown"),
            QUIET,
        ),
        Span::styled("  q quits", QUIET),
    ])
}

/// The nodes and what each reports about all replicas: the convergence strip.
fn draw_nodes(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let rows = picture.seats.iter().map(|seat| node_row(seat, picture.cut));
    let widths = [12, 9, 7, 6, 6, 6, 5].map(Constraint::Length);
    let head = ["NODE", "STATE", "PORT", "CTX", "DIGEST", "RECENT", "LEFT"];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(QUIET))
        .block(Block::bordered().title("nodes, and what each reports about all copies"));
    frame.render_widget(table, area);
}

fn node_row(seat: &Seat, cut: Option<usize>) -> Row<'static> {
    let (state, style) = match seat.health {
        Health::Starting => ("starting", BUSY),
        Health::Crashed => ("CRASHED", BAD),
        Health::Up if cut == Some(seat.site) => ("cut off", BUSY),
        Health::Up => ("up", GOOD),
    };
    let mut cells = vec![
        TableCell::from(seat.name.clone()),
        TableCell::from(state).style(style),
        TableCell::from(seat.resp.port().to_string()),
    ];
    let equal = |equal: bool| {
        if equal {
            TableCell::from("=").style(GOOD)
        } else {
            TableCell::from("differ").style(BAD)
        }
    };
    match seat.view {
        None => cells.extend(["?", "?", "", ""].map(|text| TableCell::from(text).style(QUIET))),
        Some(view) => cells.extend([
            equal(view.contexts_equal),
            equal(view.digests_equal),
            TableCell::from(view.recent.to_string()),
            TableCell::from(view.residuals.to_string()),
        ]),
    }
    Row::new(cells)
}

fn draw_links(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let sites = 0..picture.sites;
    let head = Row::new(
        std::iter::once(String::new()).chain(sites.clone().map(|site| wan::name(site).to_owned())),
    )
    .style(QUIET);
    let rows = sites.clone().map(|from| {
        let cells = sites.clone().map(|to| match picture.cut {
            Some(cut) if (from == cut) != (to == cut) => TableCell::from("✂ cut").style(BAD),
            _ if from == to => TableCell::from("·").style(QUIET),
            _ => {
                TableCell::from(format!("{} ms", wan::round_trip(from, to).as_millis())).style(GOOD)
            }
        });
        Row::new(std::iter::once(TableCell::from(wan::name(from))).chain(cells))
    });
    let widths = vec![Constraint::Min(6); picture.sites + 1];
    frame.render_widget(
        Table::new(rows, widths)
            .header(head)
            .block(Block::bordered().title("round trips")),
        area,
    );
}

fn draw_levels(frame: &mut Frame<'_>, area: Rect, table: &[[Cell; 3]; 4]) {
    let head = std::iter::once("LEVEL".to_owned()).chain(SIDES.iter().map(ToString::to_string));
    let rows = LEVELS.iter().zip(table).map(|(level, cells)| {
        let cells = cells.iter().map(|cell| {
            TableCell::from(figures(cell)).style(match cell.word() {
                "serves" => GOOD,
                "fails fast" => BAD,
                "" => QUIET,
                _ => BUSY,
            })
        });
        Row::new(std::iter::once(TableCell::from(level.to_string())).chain(cells))
    });
    let widths = [
        Constraint::Length(13),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Fill(1),
    ];
    let title = "served + failed, p50/p99 in ms";
    frame.render_widget(
        Table::new(rows, widths)
            .header(Row::new(head).style(QUIET))
            .block(Block::bordered().title(title)),
        area,
    );
}

fn figures(cell: &Cell) -> String {
    if cell.ok + cell.failed == 0 {
        return "—".to_owned();
    }
    format!(
        "{} + {}, {:.0}/{:.0}",
        cell.ok, cell.failed, cell.p50_ms, cell.p99_ms
    )
}

/// The latest paragraph of the story, and what is being waited for.
fn draw_story(frame: &mut Frame<'_>, area: Rect, picture: &Picture) {
    let last = picture.story.last().map(String::as_str).unwrap_or_default();
    let mut lines: Vec<Line<'_>> = Vec::new();
    if !picture.waiting.is_empty() {
        lines.push(Line::styled(format!("… {}", picture.waiting), BUSY));
    }
    lines.extend(last.lines().map(Line::from));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}
