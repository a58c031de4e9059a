"""Properties of the lifecycle over any sequence of events, in invented time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.lifecycle import (
    ACTIVE_STATES,
    RESTING_STATES,
    Crashed,
    Effect,
    Event,
    Exited,
    Lifecycle,
    LoadBegan,
    LoadFailed,
    RestartPolicy,
    StartRequested,
    StopRequested,
    Ticked,
    WorkersChanged,
    advance,
)

POLICY = RestartPolicy()
EXPECTED_DELAYS_S = [0, 0, 1, 2, 4, 8, 16, 32, 60]


class LifecycleMachine(RuleBasedStateMachine):
    """Carries out effects as the supervisor does and checks what they must never lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Lifecycle()
        self.now_s = 1000.0
        self.runs = False
        self.wanted = False

    @initialize(initial=st.sampled_from([ServerState.DISABLED, ServerState.STOPPED]))
    def begin(self, initial: ServerState) -> None:
        self.life = Lifecycle(initial, since_s=self.now_s)

    def feed(self, event: Event, chance: float = 0.5) -> None:
        before = self.life
        self.life, effects = advance(before, event, self.now_s, POLICY, chance)
        for effect in effects:
            self.carry_out(effect, before, event)
        if self.life.state is ServerState.BACKOFF and before.state is not ServerState.BACKOFF:
            self.check_delay(chance)

    def carry_out(self, effect: Effect, before: Lifecycle, event: Event) -> None:
        if effect is Effect.TERMINATE:
            self.runs = False
            return
        assert before.state not in ACTIVE_STATES, "spawned beside a running one"
        assert not self.runs, "two spawns without an end in between"
        assert self.wanted, "spawned although nobody wants it"
        if isinstance(event, Ticked):
            assert before.restart_at_s is not None
            assert self.now_s >= before.restart_at_s, "restarted before its time"
        self.runs = True

    def check_delay(self, chance: float) -> None:
        assert self.life.restart_at_s is not None
        place = min(self.life.failures, len(EXPECTED_DELAYS_S) - 1)
        expected_s = EXPECTED_DELAYS_S[place] * (0.8 + 0.4 * chance)
        assert abs(self.life.restart_at_s - self.now_s - expected_s) < 1e-6

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 30.0, 61.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.feed(Ticked())

    @rule()
    def somebody_starts_it(self) -> None:
        if self.life.state is not ServerState.STOPPING:
            self.wanted = True
        self.feed(StartRequested())

    @rule()
    def somebody_stops_it(self) -> None:
        self.wanted = False
        self.feed(StopRequested())

    @rule()
    def worker_begins_to_load(self) -> None:
        self.feed(LoadBegan())

    @rule(ready=st.integers(0, 3), wanted=st.integers(1, 3))
    def workers_change(self, ready: int, wanted: int) -> None:
        self.feed(WorkersChanged(ready, wanted))

    @rule(is_permanent=st.booleans(), chance=st.floats(0, 1))
    def load_fails(self, chance: float, *, is_permanent: bool) -> None:
        if is_permanent and self.life.state in ACTIVE_STATES:
            self.wanted = False
        self.feed(LoadFailed("load", is_permanent), chance)

    @rule(chance=st.floats(0, 1), is_replaced=st.booleans())
    def last_worker_crashes(self, chance: float, *, is_replaced: bool) -> None:
        self.feed(Crashed("crash", is_replaced), chance)

    @rule(chance=st.floats(0, 1))
    def process_ends(self, chance: float) -> None:
        self.runs = False
        self.feed(Exited("exit"), chance)

    @precondition(lambda self: self.life.state is ServerState.STOPPING)
    @rule()
    def last_process_ends(self) -> None:
        self.feed(Exited("stopped"))
        assert self.life.state is ServerState.STOPPED

    @invariant()
    def process_runs_only_in_active_states(self) -> None:
        assert self.runs <= (self.life.state in ACTIVE_STATES)

    @invariant()
    def restart_has_an_instant_only_in_backoff(self) -> None:
        assert (self.life.state is ServerState.BACKOFF) is (self.life.restart_at_s is not None)

    @invariant()
    def ready_server_shows_no_error(self) -> None:
        if self.life.state is ServerState.READY:
            assert self.life.last_error is None

    @invariant()
    def stop_always_ends(self) -> None:
        life = self.life
        for event in (StopRequested(), Exited("stopped")):
            life, effects = advance(life, event, self.now_s, POLICY)
            assert Effect.SPAWN not in effects
        assert life.state in RESTING_STATES - {ServerState.BACKOFF}


TestLifecycle = LifecycleMachine.TestCase
TestLifecycle.settings = settings(
    deadline=None, max_examples=30, stateful_step_count=40, database=None
)
