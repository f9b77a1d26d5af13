//! The engine: inference over a stream of one process's requests and calls.
//!
//! Enters: requests as they start and end, calls when they are over, in about the order of time. Leaves: an answer for
//! every call, once every request that may have made it is over, or has been waited for long enough. Bounded: spans
//! held, names, examples remembered; work per call. Forgetting: shapes are learned again, from the latest requests only,
//! whenever that many new ones are known.

use rustc_hash::{FxHashMap, FxHashSet};

use super::agreement::Agreement;
use super::calibration::{Calibration, Test};
use super::crowding::Crowding;
use super::hints::{Hint, Hints, Pointing};
use super::history::History;
use super::judging::{Judgement, judge};
use super::model::Model;
use super::shape::START;
use super::threshold::Threshold;
use super::window::{Call, NOBODY, Request};
use super::{Answer, Parameters, SLACK_NS};

pub(super) struct HeldRequest {
    pub(super) id: u64,
    pub(super) request: Request,
}

pub(super) struct HeldCall {
    pub(super) id: u64,
    pub(super) call: Call,
    /// As each learner has it; `Some(None)` where it is nobody's, or of no further interest.
    pub(super) parents: [Option<Option<u64>>; LEARNERS],
    pub(super) answered: bool,
    /// What points at requests.
    pub(super) said: Pointing,
    /// The hints were taken as tests of each other.
    pub(super) compared: bool,
    /// How many requests were open of late when it was over.
    crowd: f32,
}

impl HeldCall {
    /// Whoever may have made it is over, or was waited for long enough.
    pub(super) fn is_due(&self, horizon_ns: i64) -> bool {
        self.call.start_ns < horizon_ns.saturating_sub(SLACK_NS)
    }
}

/// A call that is over.
#[derive(Clone, Copy, Debug)]
pub struct FinishedCall<'a> {
    /// Names the call in answers.
    pub id: u64,
    pub name: &'a str,
    pub start_ns: i64,
    pub end_ns: i64,
    /// The request that made it, where a surer rung found it; such a call is learned from and not answered.
    pub known: Option<u64>,
    /// The request that something else than time points at.
    pub hint: Option<Hint>,
}

/// Two that learned from different first guesses: what they disagree on is not known.
pub(super) const LEARNERS: usize = 2;

struct Learner {
    model: Model,
    history: History,
}

/// Times alone do not speak against a hint whose kind is right more often than four times in five (a logarithm of odds).
const CONTRADICTS: f32 = 1.5;

pub struct Engine {
    pub(super) parameters: Parameters,
    request_names: Names,
    call_names: Names,
    pub(super) requests: Vec<HeldRequest>,
    /// Where unfinished requests are held.
    unfinished: FxHashMap<u64, usize>,
    pub(super) calls: Vec<HeldCall>,
    learners: Option<[Learner; LEARNERS]>,
    first_ns: Option<i64>,
    /// Until when the background was watched.
    watched_ns: i64,
    threshold: Threshold,
    agreement: Agreement,
    crowding: Crowding,
    calibration: Calibration,
    /// Proposals that may be weighed before thrift sets in.
    credit: i64,
    pub(super) hints: Hints,
    overflowed: u64,
    given_up: u64,
}

impl Engine {
    pub fn new(parameters: Parameters) -> Self {
        let threshold = Threshold::new(parameters.error_budget);
        let credit = parameters.effort;
        Self {
            parameters,
            request_names: Names::default(),
            call_names: Names::default(),
            requests: Vec::new(),
            unfinished: FxHashMap::default(),
            calls: Vec::new(),
            learners: None,
            first_ns: None,
            watched_ns: i64::MIN,
            threshold,
            agreement: Agreement::default(),
            crowding: Crowding::default(),
            calibration: Calibration::default(),
            credit,
            hints: Hints::default(),
            overflowed: 0,
            given_up: 0,
        }
    }

    /// Spans that were decided early because too many were held, and requests no longer looked at because too many were open.
    pub fn overflowed(&self) -> u64 {
        self.overflowed + self.given_up
    }

    pub fn held(&self) -> usize {
        self.requests.len() + self.calls.len()
    }

    /// `id` names the request in answers.
    pub fn request_started(&mut self, id: u64, name: &str, start_ns: i64) {
        let name = self.request_names.number(name);
        self.first_ns.get_or_insert(start_ns);
        self.unfinished.insert(id, self.requests.len());
        self.requests.push(HeldRequest {
            id,
            request: Request {
                start_ns,
                end_ns: start_ns,
                unfinished: true,
                name,
            },
        });
    }

    pub fn request_finished(&mut self, id: u64, end_ns: i64) {
        if let Some(at) = self.unfinished.remove(&id) {
            let request = &mut self.requests[at].request;
            request.end_ns = end_ns.max(request.start_ns);
            request.unfinished = false;
        }
    }

    pub fn call_finished(&mut self, call: &FinishedCall<'_>) {
        let FinishedCall {
            id,
            name,
            start_ns,
            end_ns,
            known,
            hint,
        } = *call;
        let name = self.call_names.number(name);
        self.crowding.note(self.unfinished.len() as f32);
        let call = Call {
            start_ns,
            end_ns: end_ns.max(start_ns),
            name,
            fixed: None,
            hint: None,
        };
        self.calls.push(HeldCall {
            id,
            call,
            parents: [known.map(Some); LEARNERS],
            answered: known.is_some(),
            said: Pointing {
                made: [hint, None],
                later: None,
            },
            compared: false,
            crowd: self.crowding.latest(),
        });
    }

    /// A surer rung found the request of a call after it was over: it is learned from, and not answered any more.
    pub fn call_known(&mut self, call: u64, request: u64) {
        if let Some(held) = self.calls.iter_mut().rfind(|held| held.id == call) {
            held.parents = [Some(Some(request)); LEARNERS];
            held.answered = true;
        }
    }

    /// Answers what can be answered. Everything that ended before `now_ns` has been told, but for calls that began at
    /// `held_ns` or later.
    pub fn decide(&mut self, now_ns: i64, held_ns: i64, answers: &mut Vec<Answer>) {
        let crowded = self.held() > self.parameters.held_spans;
        // Where times will not be asked there is nothing to learn, and learning from many open requests takes long.
        let asked = self.crowding.latest() <= self.parameters.crowd;
        let anew = self.parameters.learns_crowds_anew && asked && !self.warms_up(now_ns);
        if anew && self.crowding.has_risen() {
            self.learn_anew(now_ns);
        }
        let patience_ns = self.parameters.patience_ns;
        let blocking = self
            .unfinished
            .values()
            .map(|at| self.requests[*at].request.start_ns);
        let horizon_ns = blocking
            .filter(|start| start.saturating_add(patience_ns) > now_ns)
            .min()
            .unwrap_or(now_ns);
        let horizon_ns = if crowded {
            now_ns
        } else {
            horizon_ns.min(held_ns).min(now_ns)
        };
        if self.warms_up(now_ns) && !crowded {
            // Nothing is known of times yet; hints may have proven right before.
            self.compare_hints(horizon_ns);
            self.answer_by_hints(horizon_ns, answers);
            return;
        }
        self.solve(horizon_ns, now_ns, answers);
        if crowded {
            self.overflowed += self.held() as u64;
        }
    }

    /// Too little was seen to learn from.
    fn warms_up(&self, now_ns: i64) -> bool {
        let waited = self
            .first_ns
            .is_some_and(|first| first.saturating_add(self.parameters.warm_up_ns) <= now_ns);
        let known = self.requests.len() - self.unfinished.len();
        self.learners.is_none() && known < self.parameters.warm_up_requests && !waited
    }

    /// Answers everything.
    pub fn flush(&mut self, answers: &mut Vec<Answer>) {
        let end_ns = self
            .requests
            .iter()
            .map(|held| held.request.end_ns)
            .max()
            .unwrap_or(0);
        let end_ns = self
            .calls
            .iter()
            .map(|held| held.call.end_ns)
            .max()
            .unwrap_or(0)
            .max(end_ns);
        self.solve(i64::MAX, end_ns, answers);
    }

    fn solve(&mut self, horizon_ns: i64, now_ns: i64, answers: &mut Vec<Answer>) {
        let due = |held: &HeldCall| held.is_due(horizon_ns);
        self.compare_hints(horizon_ns);
        self.answer_by_hints(horizon_ns, answers);
        if !self.calls.iter().any(|held| !held.answered && due(held)) {
            self.depart(horizon_ns);
            return;
        }
        self.requests.sort_by_key(|held| held.request.start_ns);
        self.calls.sort_by_key(|held| held.call.start_ns);
        let index: FxHashMap<u64, u32> = self
            .requests
            .iter()
            .zip(0..)
            .map(|(held, at)| (held.id, at))
            .collect();
        let requests: Vec<Request> = self
            .requests
            .iter()
            .map(|held| match held.request.unfinished {
                true => Request {
                    end_ns: now_ns.max(held.request.start_ns),
                    ..held.request.clone()
                },
                false => held.request.clone(),
            })
            .collect();
        let calls: Vec<Call> = self
            .calls
            .iter()
            .map(|held| Call {
                hint: self.hints.weighed(&held.said).and_then(|(request, log_odds)| {
                    let request = index.get(&request)?;
                    Some((*request, log_odds))
                }),
                ..held.call.clone()
            })
            .collect();
        let seen_ns = if horizon_ns == i64::MAX {
            now_ns
        } else {
            horizon_ns
        };
        let learners = match &mut self.learners {
            Some(learners) => {
                for Learner { model, .. } in &mut *learners {
                    model
                        .background
                        .watch(&requests, &calls, self.watched_ns, seen_ns);
                }
                learners
            }
            learners => {
                let models = Model::from_window(&requests, &calls, &self.parameters);
                learners.insert(models.map(|model| Learner {
                    model,
                    history: History::of(self.parameters.examples),
                }))
            }
        };
        self.watched_ns = seen_ns;
        let asked = if self.agreement.ask_one() { 1 } else { LEARNERS };
        let fixed = |which: usize| {
            let calls = calls.iter().zip(&self.calls);
            let fixed = calls.map(|(call, held)| Call {
                fixed: held.parents[which]
                    .map(|parent| parent.and_then(|parent| index.get(&parent).copied())),
                ..call.clone()
            });
            fixed.collect::<Vec<_>>()
        };
        let calls: Vec<Vec<Call>> = (0..asked).map(fixed).collect();
        let breadth = self.parameters.deciding(self.credit < 0);
        let models = learners.iter().map(|learner| &learner.model);
        let asked_with = models.clone().zip(calls.iter().map(Vec::as_slice));
        let Some(judgement) = judge(&requests, asked_with, breadth) else {
            return;
        };
        self.credit = self.credit.saturating_sub_unsigned(judgement.effort);
        self.given_up += judgement.given_up;
        if self.parameters.tests_itself && self.calibration.is_due() {
            let in_line = models.clone().any(|model| model.order.forms_after(START));
            let test = Test::of(&judgement.window, in_line);
            let tested = judge(
                &test.requests,
                models.take(asked).map(|model| (model, &test.calls[..])),
                breadth,
            );
            let verdicts = tested.map(|tested| tested.verdicts);
            self.calibration.note(&test, &verdicts.unwrap_or_default());
        }
        let Judgement {
            opinions,
            verdicts,
            window,
            ..
        } = judgement;
        let mut found = Vec::new();
        for (at, held) in self.calls.iter_mut().enumerate() {
            if held.answered || !due(held) {
                continue;
            }
            let id = |request: u32| (request != NOBODY).then(|| self.requests[request as usize].id);
            for (which, parent) in held.parents.iter_mut().enumerate() {
                let owner = opinions[which.min(asked - 1)][at].0;
                *parent = Some(id(owner));
                if owner == NOBODY {
                    learners[which].model.background.found(held.call.name);
                }
            }
            if asked > 1 {
                self.agreement.note(opinions[0][at].0 == opinions[1][at].0);
            }
            held.answered = true;
            self.credit = (self.credit + self.parameters.effort_per_call).min(self.parameters.effort);
            let (best, probability) = verdicts[at];
            let probability = self.calibration.worth(probability);
            let parent = id(best);
            self.threshold.note(probability);
            let open = window.open[at].max(1) as f32;
            let open = open.max(held.crowd);
            let hint = self.hints.weighed(&held.said);
            let told = hint.is_some_and(|(request, log_odds)| {
                Some(request) == parent && self.parameters.is_told_by_hint(probability, log_odds)
            });
            let contradicted =
                hint.is_some_and(|(request, log_odds)| Some(request) != parent && log_odds > CONTRADICTS);
            let doubted = 1.0 - probability > self.parameters.doubt / (open * open);
            let unusual = self.parameters.learns_crowds_anew && self.crowding.is_beyond(open);
            let crowded = (doubted || unusual || open > self.parameters.crowd || contradicted) && !told;
            found.push(Answer {
                call: held.id,
                parent: parent.filter(|_| !crowded),
                probability,
            });
        }
        self.threshold.settle();
        for answer in &mut found {
            if answer.probability < self.threshold.least() {
                answer.parent = None;
            }
        }
        answers.append(&mut found);
        self.depart(horizon_ns);
        for Learner { model, history } in self.learners.iter_mut().flatten() {
            if history.due() {
                let grown = history.mark();
                *model = model.updated(&history.examples(), grown);
            }
        }
    }

    /// Forgets what was learned of times, and warms up again. What is known of hints stays.
    fn learn_anew(&mut self, now_ns: i64) {
        self.learners = None;
        self.first_ns = Some(now_ns);
        self.threshold = Threshold::new(self.parameters.error_budget);
        self.agreement = Agreement::default();
        self.crowding = Crowding::default();
    }

    /// Lets go of what nothing undecided can belong to any more, and remembers it as examples.
    fn depart(&mut self, horizon_ns: i64) {
        let over = |request: &Request| {
            !request.unfinished
                && request.end_ns.saturating_add(SLACK_NS) < horizon_ns.saturating_sub(SLACK_NS)
        };
        let mut leaving: FxHashMap<u64, (Request, [Vec<Call>; LEARNERS])> = FxHashMap::default();
        self.requests.retain(|held| {
            let leaves = over(&held.request);
            if leaves {
                leaving.insert(held.id, (held.request.clone(), Default::default()));
            }
            !leaves
        });
        let staying: FxHashSet<u64> = self.requests.iter().map(|held| held.id).collect();
        self.calls.retain_mut(|held| {
            for (which, parent) in held.parents.iter_mut().enumerate() {
                let Some(Some(id)) = parent else { continue };
                if let Some((_, calls)) = leaving.get_mut(id) {
                    calls[which].push(held.call.clone());
                    *parent = Some(None);
                } else if !staying.contains(id) {
                    *parent = Some(None);
                }
            }
            !held.answered || held.parents.iter().any(|parent| *parent != Some(None))
        });
        let mut leaving: Vec<_> = leaving.into_values().collect();
        leaving.sort_by_key(|(request, _)| request.start_ns);
        for (request, calls) in leaving {
            for (learner, mut calls) in self.learners.iter_mut().flatten().zip(calls) {
                calls.sort_by_key(|call| call.start_ns);
                learner.history.push(request.clone(), calls);
            }
        }
        let unfinished = self
            .requests
            .iter()
            .enumerate()
            .filter(|(_, held)| held.request.unfinished);
        self.unfinished = unfinished.map(|(at, held)| (held.id, at)).collect();
    }
}

/// Names by number. Beyond the bound, all further names share the last number.
#[derive(Default)]
struct Names {
    numbers: FxHashMap<String, u32>,
}

const NAMES: usize = 256;

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        if self.numbers.len() < NAMES {
            self.numbers.insert(name.to_owned(), number);
        }
        number
    }
}
