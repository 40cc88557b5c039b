"""The suites of this folder are plain modules; pytest explains their assertions all the same."""

import pytest

pytest.register_assert_rewrite("tests.contracts.broker")
