//! A build as it goes, on standard error: a live view in a terminal, plain lines anywhere else.

use std::{collections::HashMap, io::IsTerminal as _, time::Duration};

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::client::Event;

/// Shows the events of one build.
pub struct Progress {
    lines: Lines,
    begun_ms: Option<i64>,
    started_ms: HashMap<String, i64>,
    total: usize,
    settled: usize,
    files: usize,
    /// The kind of the event that ended the build, and its data.
    pub end: Option<(String, Value)>,
}

/// Where lines go. In a terminal, what is done scrolls up and what runs stays at the bottom.
enum Lines {
    Live { screen: MultiProgress, bar: ProgressBar, running: HashMap<String, ProgressBar> },
    Plain,
}

impl Progress {
    /// A view that fits what standard error is.
    pub fn new() -> Self {
        let lines = if std::io::stderr().is_terminal() { Lines::live() } else { Lines::Plain };
        Self {
            lines,
            begun_ms: None,
            started_ms: HashMap::new(),
            total: 0,
            settled: 0,
            files: 0,
            end: None,
        }
    }

    /// Takes in one event.
    pub fn hear(&mut self, event: Event) {
        let begun = *self.begun_ms.get_or_insert(event.timestamp);
        let text = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
        let (id, name) = (text("taskId"), text("taskName"));
        match &*event.kind {
            "build_started" => self.say("reading the brief"),
            "plan_generated" => self.planned(&event.data),
            "plan_warning" => self.note(&text("message")),
            "plan_blocked" => self.note("the plan is blocked: its tasks wait for each other"),
            "plan_approved" => self.say("the plan was approved"),
            "plan_rejected" => self.note(&format!("the plan was rejected: {}", text("reason"))),
            "plan_retrying" => self.note(&format!("planning again: {}", text("error"))),
            "task_started" => {
                self.started_ms.insert(id.clone(), event.timestamp);
                self.lines.run(&id, &name);
            }
            "task_retrying" => {
                self.lines.leave(&id);
                self.note(&format!("{name}: trying again: {}", text("error")));
            }
            "task_completed" => {
                let files = event.data["filesCreated"].as_array().map_or(0, Vec::len);
                let took = self.started_ms.get(&id).map_or(0, |started| event.timestamp - started);
                self.files += files;
                self.settle(
                    &id,
                    Mark::Done,
                    &name,
                    &format!("{}, {}", count(files, "file"), ms(took)),
                );
            }
            "task_failed" => self.settle(&id, Mark::Failed, &name, &text("error")),
            "task_timeout" => self.settle(&id, Mark::Failed, &name, "timed out"),
            "task_skipped" => self.settle(&id, Mark::Left, &name, "skipped"),
            "task_cancelled" => self.settle(&id, Mark::Left, &name, "cancelled"),
            "build_retried" => {
                self.settled = self
                    .settled
                    .saturating_sub(event.data["taskCount"].as_u64().unwrap_or(0) as usize);
                self.say("trying again what was not done");
            }
            "build_completed" | "build_failed" | "build_cancelled" => {
                self.lines.finish();
                let after = ms(event.timestamp - begun);
                let files = count(self.files, "file");
                let tasks = count(self.settled, "task");
                match &*event.kind {
                    "build_completed" => eprintln!(
                        "{} completed in {after}: {tasks}, {files}",
                        style("✔").for_stderr().green().bold()
                    ),
                    "build_cancelled" => eprintln!("cancelled after {after}"),
                    _ => eprintln!(
                        "{} failed after {after}: {}",
                        style("✘").for_stderr().red().bold(),
                        event.data["error"]["message"].as_str().unwrap_or("no reason was given")
                    ),
                }
                self.end = Some((event.kind, event.data));
            }
            _ => {}
        }
    }

    fn planned(&mut self, data: &Value) {
        self.total = data["taskCount"].as_u64().unwrap_or(0) as usize;
        self.say(&format!("planned {}", count(self.total, "task")));
        for note in data["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.note(note);
        }
        if data["needsApproval"] == true {
            let plan = data["planId"].as_str().unwrap_or_default();
            self.note(&format!("it waits for approval: buildfleet approve {plan}"));
        }
        if let Lines::Live { bar, .. } = &self.lines {
            bar.set_length(self.total as u64);
        }
    }

    fn settle(&mut self, id: &str, mark: Mark, name: &str, how: &str) {
        self.settled += 1;
        self.lines.leave(id);
        let width = self.total.to_string().len();
        let place = format!("[{:>width$}/{}]", self.settled, self.total);
        let mark = mark.styled();
        self.lines.print(&format!(
            "{} {mark} {name} {}",
            style(place).for_stderr().dim(),
            style(format!("({how})")).for_stderr().dim()
        ));
        if let Lines::Live { bar, .. } = &self.lines {
            bar.set_position(self.settled as u64);
        }
    }

    fn say(&self, text: &str) {
        self.lines.print(&format!("{} {text}", style("•").for_stderr().cyan()));
    }

    fn note(&self, text: &str) {
        self.lines.print(&format!("{} {text}", style("!").for_stderr().yellow().bold()));
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

enum Mark {
    Done,
    Failed,
    Left,
}

impl Mark {
    fn styled(&self) -> String {
        match self {
            Mark::Done => style("✔").for_stderr().green().to_string(),
            Mark::Failed => style("✘").for_stderr().red().to_string(),
            Mark::Left => style("–").for_stderr().yellow().to_string(),
        }
    }
}

impl Lines {
    fn live() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
        let bar = screen.add(ProgressBar::new(0));
        let shape = "{bar:40.cyan/dim} {pos}/{len} tasks  {elapsed}";
        bar.set_style(styled(shape).progress_chars("━━─"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Lines::Live { screen, bar, running: HashMap::new() }
    }

    /// Shows that a task runs.
    fn run(&mut self, id: &str, name: &str) {
        let Lines::Live { screen, bar, running } = self else { return };
        let line = screen.insert_before(bar, ProgressBar::new_spinner());
        line.set_style(styled("  {spinner:.cyan} {msg} {elapsed:.dim}"));
        line.set_message(name.to_owned());
        line.enable_steady_tick(Duration::from_millis(100));
        running.insert(id.to_owned(), line);
    }

    /// Shows that a task runs no more.
    fn leave(&mut self, id: &str) {
        if let Lines::Live { running, .. } = self
            && let Some(line) = running.remove(id)
        {
            line.finish_and_clear();
        }
    }

    fn print(&self, line: &str) {
        match self {
            // A screen that cannot be written to is nobody's to look at.
            Lines::Live { screen, .. } => _ = screen.println(line),
            Lines::Plain => eprintln!("{line}"),
        }
    }

    fn finish(&mut self) {
        if let Lines::Live { bar, running, .. } = self {
            for (_, line) in running.drain() {
                line.finish_and_clear();
            }
            bar.finish_and_clear();
        }
    }
}

fn styled(shape: &str) -> ProgressStyle {
    ProgressStyle::with_template(shape).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// `1 file`, `3 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `480 ms`, `12.3 s`, `4 min 10 s`.
pub fn ms(ms: i64) -> String {
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}
