//! Who is there, and how much there is to do.

use buildfleet::{
    domain::{attempt, limit::Gate},
    job::{Job, Lane},
    store::{LaneView, Worker, WorkerBeat},
};

use super::record::{Record, Stand, at};

/// Holders silent for longer are forgotten.
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

impl Record {
    pub(super) fn beat(&mut self, beat: &WorkerBeat) {
        let now = self.now;
        self.workers.retain(|_, (_, _, beat_at)| now - *beat_at <= HOUR_MS);
        let began = self.workers.get(&beat.holder).map_or(now, |(_, began, _)| *began);
        self.workers.insert(beat.holder, (beat.clone(), began, now));
    }

    pub(super) fn list_workers(&self) -> Vec<Worker> {
        let rows = self.workers.values();
        rows.map(|(beat, began, beat_at)| Worker {
            holder: beat.holder,
            program: beat.program.clone(),
            host: beat.host.clone(),
            version: beat.version.clone(),
            lane: beat.lane,
            slots: beat.slots,
            busy: beat.busy,
            started_at: at(*began),
            beat_at: at(*beat_at),
            silent_ms: (self.now - beat_at).unsigned_abs(),
        })
        .collect()
    }

    pub(super) fn view_lane(&self, lane: Lane) -> LaneView {
        let (mut waiting, mut delayed, mut oldest_ms) = (0, 0, 0);
        for (_, work) in self.work.iter().filter(|(job, _)| job.lane() == lane) {
            let Stand::Ready { due_at, parked_on } = &work.stand else { continue };
            if self.now < *due_at || *parked_on == Some(Gate::Turn) {
                delayed += 1;
            } else {
                waiting += 1;
                oldest_ms = oldest_ms.max((self.now - due_at).unsigned_abs());
            }
        }
        let is_recent = |at: Option<i64>| at.is_some_and(|at| self.now - MINUTE_MS < at);
        let settled = match lane {
            Lane::Plans => {
                let rows = self.attempts.iter().filter(|((job, _), row)| {
                    matches!(job, Job::Plan(_))
                        && matches!(row.state, attempt::State::Succeeded | attempt::State::Failed)
                        && is_recent(row.settled_at)
                });
                rows.count()
            }
            Lane::Tasks => self.tasks.values().filter(|row| is_recent(row.settled_at)).count(),
            Lane::Deliveries => {
                self.deliveries.values().filter(|row| is_recent(row.settled_at)).count()
            }
        };
        LaneView {
            lane,
            waiting,
            delayed,
            running: self.lane(lane).held.len() as u64,
            oldest_ms,
            settled_last_minute: settled as u64,
        }
    }
}
