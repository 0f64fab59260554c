"""Makes the harness known to pytest; everything is in harness/."""

import pytest

pytest.register_assert_rewrite("harness.fixtures")
pytest_plugins = ["harness.plugin", "harness.fixtures", "harness.together"]
