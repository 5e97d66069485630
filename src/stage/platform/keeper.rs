//! Keeps one agent of a deployment running: starts it, starts it again when it failed, ends it on order.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::stage::event::{Addresses, AgentExit, StageEvent};
use crate::stage::platform::{Platform, Reserved};
use crate::stage::port::Port;
use crate::stage::process::{Heard, Launch, Next, Process};

/// An order to an agent's keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGTERM, and SIGKILL after the drain time. Final.
    Drain,
    /// SIGKILL. Final.
    Kill,
    /// SIGKILL to the agent, as an accident: the restart policy applies.
    KillAgent,
}

/// How far an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started yet.
    Reserved,
    /// Started, and has not said where it listens.
    Starting,
    /// The same after it had ended; or about to be started again.
    Restarting,
    /// It listens.
    Running {
        /// Where.
        addresses: Addresses,
        /// Its process.
        pid: u32,
    },
    /// It ended and is not started again; none of its processes is left.
    Ended,
}

impl Phase {
    /// Whether there is somebody to ask, or never will be.
    pub(crate) fn settled(&self) -> bool {
        match self {
            Self::Reserved | Self::Starting | Self::Restarting => false,
            Self::Running { .. } | Self::Ended => true,
        }
    }

    /// Where the agent listens.
    pub(crate) fn addresses(&self) -> Option<Addresses> {
        match self {
            Self::Running { addresses, .. } => Some(*addresses),
            Self::Reserved | Self::Starting | Self::Restarting | Self::Ended => None,
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
    agent: String,
    index: usize,
    /// Emptied before each start; `None`: what is in it stays.
    wiped: Option<PathBuf>,
    orders: mpsc::Receiver<Order>,
    phase: watch::Sender<Phase>,
    /// The app's and the peers', through all its starts.
    _ports: (Port, Option<Port>),
}

impl Keeper {
    /// A keeper of the agent that `reserved` is for; `wiped` is emptied before each of its starts.
    pub(super) fn new(
        platform: Arc<Platform>,
        launch: Launch,
        id: String,
        reserved: Reserved,
        wiped: Option<PathBuf>,
    ) -> Self {
        let Reserved { name, index, app, peers, orders, phase } = reserved;
        Self { platform, launch, id, agent: name, index, wiped, orders, phase, _ports: (app, peers) }
    }

    /// Runs until the agent has ended for good.
    pub(super) async fn run(mut self) {
        let mut restarts = 0;
        let crashed = loop {
            self.set_phase(if restarts == 0 { Phase::Starting } else { Phase::Restarting });
            let exit = match self.start() {
                Ok(process) => match self.run_once(process).await {
                    Run::Ordered => break false,
                    Run::ByItself(exit) => exit,
                },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "an agent could not be started");
                    break true;
                }
            };
            self.set_phase(Phase::Restarting);
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

    fn start(&self) -> io::Result<Process> {
        if let Some(volume) = &self.wiped {
            // What it had written died with the container.
            std::fs::remove_dir_all(volume)?;
            std::fs::create_dir(volume)?;
        }
        Process::start(&self.launch)
    }

    fn close(&self, crashed: bool) {
        let (id, agent) = (self.id.clone(), self.agent.clone());
        if crashed {
            self.emit(StageEvent::Crashed { id, agent });
        }
        self.platform.agent_ended(&self.id, self.index, crashed);
    }

    async fn run_once(&mut self, mut process: Process) -> Run {
        loop {
            tokio::select! {
                next = process.next() => match next {
                    Next::Heard(heard) => self.heard(heard, process.pid()),
                    Next::Ended(exit) => {
                        self.emit(StageEvent::Exited { id: self.id.clone(), agent: self.agent.clone(), exit });
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
        let (id, agent) = (self.id.clone(), self.agent.clone());
        match heard {
            Heard::Listening(addresses) => {
                self.set_phase(Phase::Running { addresses, pid });
                self.emit(StageEvent::Listening { id, agent, pid, addresses });
            }
            Heard::FaultBegan => self.emit(StageEvent::FaultBegan { id, agent }),
        }
    }

    async fn drain(&mut self, process: &mut Process) {
        self.emit(StageEvent::Terminating { id: self.id.clone(), agent: self.agent.clone() });
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
            Ok(Some(exit)) => {
                self.emit(StageEvent::Exited { id: self.id.clone(), agent: self.agent.clone(), exit })
            }
            Ok(None) | Err(_) => self.kill(process).await,
        }
    }

    async fn kill(&self, process: &mut Process) {
        process.sweep();
        self.emit(StageEvent::Killed { id: self.id.clone(), agent: self.agent.clone() });
        let exit = ended(process).await;
        self.emit(StageEvent::Exited { id: self.id.clone(), agent: self.agent.clone(), exit });
    }

    /// Rests before a restart; whether the deployment was ended meanwhile.
    async fn back_off(&mut self, attempt: u32) -> bool {
        let after = self.platform.options.restart_backoff;
        let (id, agent) = (self.id.clone(), self.agent.clone());
        self.emit(StageEvent::Restarting { id, agent, attempt, after });
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
        self.platform.agent_moved(&self.id, self.index, phase.addresses());
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
