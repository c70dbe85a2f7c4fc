"""What tests of the example program stand on: one that leaves nothing behind."""
import contextlib

import pytest

from running_app import App


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:
        def begin(*options: str, env: dict | None = None) -> App:
            app = App(*options, env=env)

            def end():
                app.process.kill()
                app.process.wait()
                app.process.stdout.close()
                app.process.stderr.close()
            stack.callback(end)
            return app
        yield begin
