"""The fixtures, and the runner of asynchronous tests.

`server` is shared by the tests of a file and checked after each of them; `start_server` makes one with settings of its own.
"""

import asyncio
import inspect

import pytest

import chat
from rest import register
from server import BIN, Server

TIMEOUT_S = 60


def pytest_sessionstart(session):
    if not BIN.exists() and not session.config.option.collectonly:
        pytest.exit(f"{BIN} is not there: build it, or name another with CHATROOM_BIN", 2)


def pytest_collection_modifyitems(items):
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("slow", "long")):
            item.add_marker(pytest.mark.quick)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs coroutine tests, each with its own loop and deadline; then every connection is held to the contract."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    marker = pyfuncitem.get_closest_marker("timeout")
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(
        _within(pyfuncitem.obj(**{n: pyfuncitem.funcargs[n] for n in names}), marker.args[0] if marker else TIMEOUT_S)
    )
    return True


async def _within(test, seconds):
    try:
        async with asyncio.timeout(seconds):
            await test
    except BaseException:
        # The first failure is the one to report.
        await asyncio.gather(chat.finish_all(), return_exceptions=True)
        raise
    await chat.finish_all()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("shared")).start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server):
    if not shared_server.alive():
        # It died in an earlier test, which failed by that; the others still tell something.
        shared_server.log_file.unlink()
        shared_server.start()
    yield shared_server
    shared_server.check()


@pytest.fixture
def start_server(tmp_path):
    """start_server(NAME=value, …): a server of the test's own."""
    made = []

    def start(**settings):
        made.append(Server(tmp_path / f"server{len(made)}", **settings))
        return made[-1].start()

    yield start
    problems = []
    for one in made:
        for step in (one.check, one.stop):
            try:
                step()
            except AssertionError as problem:
                problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture
def alice(server):
    return register(server)


@pytest.fixture
def bob(server):
    return register(server)


@pytest.fixture
def room(alice):
    """A room of Alice's."""
    return alice.rest.room()
