"""Brings a running gateway to a new configuration without losing a request.

First everything is checked and every new port bound; only then anything changes. Endpoints are
replaced one generation by the next, and the gateway last, because it may have to carry the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.errors import BadInput, NotReady
from basic_inference_server.core.settings import unused_settings
from basic_inference_server.core.topology import SERVING_STATES, ServerState
from basic_inference_server.supervision.lifecycle import RESTING_STATES
from basic_inference_server.supervision.prerequisites import require_descriptors
from basic_inference_server.supervision.reload_plan import ReloadPlan, plan_reload
from basic_inference_server.supervision.server import Server
from basic_inference_server.supervision.sockets import StartError

if TYPE_CHECKING:
    from basic_inference_server.core.settings import GatewaySettings
    from basic_inference_server.supervision.places import Left, Places
    from basic_inference_server.supervision.supervisor import Supervisor

WAIT_S = 150.0
TROUBLED = frozenset({ServerState.FAILED, ServerState.BACKOFF, ServerState.DEGRADED})


class Reloading:
    """Reloads one supervisor's configuration, one reload at a time."""

    def __init__(self, supervisor: Supervisor, places: Places) -> None:
        self._supervisor = supervisor
        self._places = places
        self._lock = asyncio.Lock()
        self._is_gateway_behind = False  # it runs with what was before the last reload

    @property
    def is_busy(self) -> bool:
        """Whether a reload is under way."""
        return self._lock.locked()

    async def reload(self, why: str) -> dict[str, Any]:
        """Read the configuration again and apply what is different.

        Returns:
            What was done: names of endpoints and settings.

        Raises:
            BadInput: the configuration is wrong or a port is taken; nothing has changed.
            NotReady: something could not be loaded; its predecessor goes on serving.
        """
        async with self._lock:
            log = self._supervisor.log
            try:
                settings = self._supervisor.read_settings()
                require_descriptors(settings)
                plan = plan_reload(self._supervisor.settings, settings)
                left = self._bind_ports(plan, settings)
            except (ConfigError, StartError) as error:
                problems = error.problems if isinstance(error, ConfigError) else [str(error)]
                log.say("error", "reload_refused", why=why, problems=problems)
                raise BadInput(
                    f"The new configuration is not usable, nothing was changed: {problems[0]}",
                    details=problems,
                ) from error
            for sentence in unused_settings(settings):
                if sentence not in unused_settings(self._supervisor.settings):
                    log.warning("setting_ignored", message=sentence)
            done = await self._apply(plan, settings, left, why)
            values = {key: getattr(settings, key) for key in plan.settings} or None
            log.say(
                "error" if done["FAILED"] else "info", "reloaded", why=why, values=values,
                **_lowered(done),
            )  # fmt: skip
        if done["FAILED"]:
            failed = ", ".join(done["FAILED"])
            raise NotReady(
                f"The new configuration could not be loaded for {failed}; what was there goes on.",
                **done,
            )
        return done

    def _bind_ports(self, plan: ReloadPlan, settings: GatewaySettings) -> list[Left]:
        """Bind what is new; return the ports that are left."""
        places, sections = self._places, settings.CONFIG_ENDPOINTS
        new = [name for name in plan.added if not sections[name].is_support_process]
        moved = [name for name in plan.moved if not sections[name].is_support_process]
        left: dict[str, Left] = {}
        added: list[str] = []
        chosen_before = places.chosen_ports
        places.chosen_ports = frozenset(settings.own_ports().values())
        try:
            for name in new:
                places.add_server(name, sections[name])
                added.append(name)
            for name in moved:
                left[name] = places.move_server(name, sections[name])
        except StartError:
            for name in added:
                places.remove_server(name)
            for name, one in left.items():
                places.take_back(name, one)
            places.chosen_ports = chosen_before
            raise
        return list(left.values())

    async def _apply(
        self, plan: ReloadPlan, settings: GatewaySettings, left: list[Left], why: str
    ) -> dict[str, Any]:
        supervisor = self._supervisor
        supervisor.settings = settings
        await self._remove(plan.removed, why)
        changed_programs = [name for name in plan.replaced if name in supervisor.support]
        await self._remove(changed_programs, why)
        for name in (*plan.added, *changed_programs):
            self._add(name, settings, why)
        for name in (*plan.replaced, *plan.adjusted):
            self._adopt(name, plan, settings, why)
        new_code = [
            name
            for name, server in supervisor.servers.items()
            if name not in {*plan.added, *plan.replaced}
            and server.state in SERVING_STATES
            and server.code.is_new(server.loaded_file)
        ]
        for name in new_code:
            supervisor.servers[name].replace(f"its file has changed ({why})")
        supervisor.push_table()
        failed = await self._settle([*plan.added, *plan.replaced, *plan.adjusted, *new_code])
        if plan.needs_new_gateway or self._is_gateway_behind:
            await self._replace_gateway(failed, why)
        for one in left:
            one.listener.close()
        # An endpoint that could not be replaced goes on with its old section, and the next reload
        # has to see that.
        in_force = {
            name: supervisor.servers[name].section if name in supervisor.servers else section
            for name, section in settings.CONFIG_ENDPOINTS.items()
        }
        supervisor.settings = settings.model_copy(update={"CONFIG_ENDPOINTS": in_force})
        return {
            "ADDED": list(plan.added),
            "REMOVED": list(plan.removed),
            "REPLACED": [*plan.replaced, *new_code],
            "ADJUSTED": list(plan.adjusted),
            "SETTINGS": list(plan.settings),
            "AT_THE_NEXT_START": list(plan.at_the_next_start),
            "FAILED": failed,
        }

    def _add(self, name: str, settings: GatewaySettings, why: str) -> None:
        section = settings.CONFIG_ENDPOINTS[name]
        self._supervisor.add(name, section)
        if not section.DISABLED:
            one = self._supervisor.servers.get(name) or self._supervisor.support[name]
            one.start(why)

    def _adopt(self, name: str, plan: ReloadPlan, settings: GatewaySettings, why: str) -> None:
        server = self._supervisor.servers.get(name)
        if server is None:
            return
        section = settings.CONFIG_ENDPOINTS[name]
        was_disabled = server.section.DISABLED
        server.place = self._places.servers[name]
        server.adopt(section, why, replaces_workers=name in plan.replaced)
        if section.DISABLED and not was_disabled:
            server.stop(why)
        elif was_disabled and not section.DISABLED:
            server.start(why)

    async def _remove(self, names: Iterable[str], why: str) -> None:
        """Stop what is no longer wanted; its requests in flight finish."""
        supervisor = self._supervisor
        leaving = [supervisor.servers.get(name) or supervisor.support[name] for name in names]
        for one in leaving:
            one.stop(why)
        for name, one in zip(names, leaving, strict=True):
            await one.keeper.wait_until(lambda one=one: one.is_gone, WAIT_S)  # type: ignore[misc]
            if isinstance(one, Server):
                del supervisor.servers[name]
                self._places.remove_server(name)
            else:
                del supervisor.support[name]

    async def _settle(self, names: Iterable[str]) -> dict[str, str]:
        """Wait until each of them serves or has failed; return those that have, with the reason."""
        found = [self._supervisor.servers.get(name) for name in names]
        servers = [server for server in found if server is not None]
        settled = SERVING_STATES | RESTING_STATES
        await asyncio.gather(
            *(
                server.keeper.wait_until(
                    lambda server=server: (  # type: ignore[misc]
                        self._supervisor.is_stopping
                        or (server.replacement is None and server.state in settled)
                    ),
                    WAIT_S,
                )
                for server in servers
            )
        )
        await asyncio.gather(*(server.handed_over() for server in servers))
        failed = {}
        for server in servers:
            life = server.keeper.life
            error = server.replace_error or (life.last_error if life.state in TROUBLED else None)
            if error is not None:
                failed[server.signature] = error[:500]
        return failed

    async def _replace_gateway(self, failed: dict[str, str], why: str) -> None:
        gateway = self._supervisor.gateway
        await gateway.keeper.wait_until(lambda: gateway.is_settled, WAIT_S)
        gateway.replace(why)
        await gateway.keeper.wait_until(lambda: gateway.replacement is None, WAIT_S)
        self._is_gateway_behind = gateway.replace_error is not None
        if gateway.replace_error is not None:
            failed["gateway"] = gateway.replace_error


def _lowered(done: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in done.items() if value}
