//! Keeps one deployment's agent running: starts it, starts it again when it failed, ends it on order.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::stage::event::{Addresses, AgentExit, StageEvent};
use crate::stage::platform::{Platform, Reserved, Status};
use crate::stage::port::Port;
use crate::stage::process::{Heard, Launch, Next, Process};

/// An order to a deployment's keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM, and SIGKILL after the drain time. Final.
    Drain,
    /// SIGKILL. Final.
    Kill,
    /// SIGKILL to the agent, as an accident: the restart policy applies.
    KillAgent,
}

/// How far a deployment's agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started yet.
    Reserved,
    /// Started, and has not said where it listens; or about to be started again.
    Starting,
    /// It listens.
    Running {
        /// Where.
        addresses: Addresses,
    },
    /// It ended and is not started again; none of its processes is left.
    Ended,
}

impl Phase {
    /// Whether there is somebody to ask, or never will be.
    pub(crate) fn settled(&self) -> bool {
        match self {
            Self::Reserved | Self::Starting => false,
            Self::Running { .. } | Self::Ended => true,
        }
    }

    /// Where the agent listens.
    pub(crate) fn addresses(&self) -> Option<Addresses> {
        match self {
            Self::Running { addresses } => Some(*addresses),
            Self::Reserved | Self::Starting | Self::Ended => None,
        }
    }
}

/// What a run of the agent came to.
enum Run {
    /// It was ended on order.
    Ordered,
    /// It ended by itself.
    ByItself(AgentExit),
}

/// The task that holds the agent's process.
pub(crate) struct Keeper {
    platform: Arc<Platform>,
    launch: Launch,
    id: String,
    orders: mpsc::Receiver<Order>,
    phase: watch::Sender<Phase>,
    /// The app's, through all its starts.
    _port: Port,
}

impl Keeper {
    pub(super) fn new(platform: Arc<Platform>, launch: Launch, reserved: Reserved, port: Port) -> Self {
        let Reserved { id, orders, phase } = reserved;
        Self { platform, launch, id, orders, phase, _port: port }
    }

    /// Runs until the agent has ended for good.
    pub(super) async fn run(mut self) {
        let mut restarts = 0;
        let crashed = loop {
            self.set_phase(Phase::Starting);
            let exit = match Process::start(&self.launch) {
                Ok(process) => match self.run_once(process).await {
                    Run::Ordered => break false,
                    Run::ByItself(exit) => exit,
                },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "an agent could not be started");
                    break true;
                }
            };
            self.set_phase(Phase::Starting);
            // The policy is ON_FAILURE: an exit with 0 is the end of the work.
            if exit.code == Some(0) || restarts >= self.platform.options.restarts_max {
                break exit.code != Some(0);
            }
            restarts += 1;
            if self.back_off(restarts).await {
                break false;
            }
        };
        self.set_phase(Phase::Starting);
        self.close(crashed);
        self.set_phase(Phase::Ended);
    }

    fn close(&self, crashed: bool) {
        // A deployment that failed its health check stays failed, whatever its process does.
        let failed = self.platform.status(&self.id) == Some(Status::Failed);
        if crashed {
            self.emit(StageEvent::Crashed { id: self.id.clone() });
        }
        if !failed {
            self.platform.set_status(&self.id, if crashed { Status::Crashed } else { Status::Removed });
        }
        self.emit(StageEvent::Removed { id: self.id.clone() });
    }

    async fn run_once(&mut self, mut process: Process) -> Run {
        loop {
            tokio::select! {
                next = process.next() => match next {
                    Next::Heard(heard) => self.heard(heard, process.pid()),
                    Next::Ended(exit) => {
                        self.emit(StageEvent::Exited { id: self.id.clone(), exit });
                        return Run::ByItself(exit);
                    }
                },
                order = self.orders.recv() => match order {
                    Some(Order::KillAgent) => process.kill(),
                    Some(Order::Drain) => {
                        self.drain(&mut process).await;
                        return Run::Ordered;
                    }
                    Some(Order::Kill) | None => {
                        self.kill(&mut process).await;
                        return Run::Ordered;
                    }
                },
            }
        }
    }

    fn heard(&self, heard: Heard, pid: u32) {
        let id = self.id.clone();
        match heard {
            Heard::Listening(addresses) => {
                self.set_phase(Phase::Running { addresses });
                self.emit(StageEvent::Listening { id, pid, addresses });
            }
            Heard::FaultBegan => self.emit(StageEvent::FaultBegan { id }),
        }
    }

    async fn drain(&mut self, process: &mut Process) {
        self.emit(StageEvent::Terminating { id: self.id.clone() });
        process.terminate();
        let ended = async {
            loop {
                tokio::select! {
                    exit = ended(process) => break Some(exit),
                    order = self.orders.recv() => match order {
                        Some(Order::Kill) | None => break None,
                        Some(Order::Drain | Order::KillAgent) => {}
                    },
                }
            }
        };
        match tokio::time::timeout(self.platform.options.drain, ended).await {
            Ok(Some(exit)) => self.emit(StageEvent::Exited { id: self.id.clone(), exit }),
            Ok(None) | Err(_) => self.kill(process).await,
        }
    }

    async fn kill(&self, process: &mut Process) {
        process.sweep();
        self.emit(StageEvent::Killed { id: self.id.clone() });
        let exit = ended(process).await;
        self.emit(StageEvent::Exited { id: self.id.clone(), exit });
    }

    /// Rests before a restart; whether the deployment was ended meanwhile.
    async fn back_off(&mut self, attempt: u32) -> bool {
        let after = self.platform.options.restart_backoff;
        self.emit(StageEvent::Restarting { id: self.id.clone(), attempt, after });
        let rest = tokio::time::sleep(after);
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => return false,
                order = self.orders.recv() => match order {
                    Some(Order::KillAgent) => {}
                    Some(Order::Drain | Order::Kill) | None => return true,
                },
            }
        }
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
        self.platform.agent_moved(&self.id, phase.addresses());
    }

    fn emit(&self, event: StageEvent) {
        self.platform.emit(event);
    }
}

async fn ended(process: &mut Process) -> AgentExit {
    loop {
        match process.next().await {
            Next::Ended(exit) => return exit,
            Next::Heard(_) => {}
        }
    }
}
