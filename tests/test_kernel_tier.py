"""The kernel tier must not be green for a test that did not run."""

import sys

import pytest

from tests import kernel_tier

TESTS = """
import pytest

def test_on_the_host():
    pass

@pytest.mark.kernel
def test_passes():
    pass

@pytest.mark.kernel
def test_fails():
    print("printed in the guest")
    assert 1 == 2

@pytest.mark.kernel
@pytest.mark.parametrize("word", ["a b", "c[d]"])
def test_words(word):
    pass
"""

CONFTEST = "from tests.kernel_tier import pytest_addoption, pytest_configure"

INI = """
[pytest]
markers = kernel: needs a kernel with IPVS
asyncio_default_fixture_loop_scope = function
"""

NO_GUEST = f"--kernel-guest={sys.executable} -c 'import sys; print(\"no linux.uml\"); sys.exit(3)'"

RUNS_IT = "--kernel-guest=env LVSHA_IN_GUEST=1"
"""A guest that is this very machine: everything but the kernel is real."""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_inner=TESTS)
    return pytester


def test_outcomes_of_the_guest_are_counted_in_one_closing_line(inner: pytest.Pytester) -> None:
    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*", "*printed in the guest*"])


def test_kernel_tests_run_in_the_guest_and_the_others_do_not(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        test_inner="""
        import os, pytest
        def test_host(): assert "LVSHA_IN_GUEST" not in os.environ
        @pytest.mark.kernel
        def test_guest(): assert "LVSHA_IN_GUEST" in os.environ
        """
    )

    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(passed=2)


def test_deselected_kernel_tests_boot_no_guest(inner: pytest.Pytester) -> None:
    result = inner.runpytest_inprocess(NO_GUEST, "-m", "not kernel")

    result.assert_outcomes(passed=1, deselected=4)


def test_guest_that_cannot_start_fails_every_kernel_test(inner: pytest.Pytester) -> None:
    result = inner.runpytest_inprocess(NO_GUEST)

    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(["*no linux.uml*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_guest_that_dies_half_way_keeps_what_it_reported_and_fails_the_rest(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        test_inner="""
        import os, pytest
        @pytest.mark.kernel
        def test_before(): pass
        @pytest.mark.kernel
        def test_dies(): os._exit(0)
        @pytest.mark.kernel
        def test_after(): pass
        """
    )

    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["*no outcome came out of the guest*", "*not run: the guest ended at*test_dies*"]
    )


def test_guest_that_hangs_is_ended_and_fails(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_tier, "BOOT_S", 0)
    monkeypatch.setattr(kernel_tier, "GRACE_S", 0)

    result = inner.runpytest_inprocess(
        "--kernel-guest=sh -c 'echo alive; sleep 100; true'", "-o", "timeout=0.3"
    )

    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(["*exit status: -15*", "*alive*"])


def test_first_failure_ends_the_guest_with_exitfirst(inner: pytest.Pytester) -> None:
    result = inner.runpytest_inprocess(RUNS_IT, "-x")

    result.assert_outcomes(passed=2, failed=1)


MODULE = """
import os, pathlib, pytest
pytestmark = pytest.mark.kernel
@pytest.mark.parametrize("number", range(3))
def test_number(number): {body}
"""


def test_guests_share_the_modules_and_run_each_once(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    body = "pathlib.Path('ran').open('a').write(f'{__name__} {number} {os.getppid()}\\n')"
    names = [f"test_module_{number}" for number in range(6)]
    pytester.makepyfile(**dict.fromkeys(names, MODULE.format(body=body)))

    result = pytester.runpytest_inprocess(RUNS_IT, "--kernel-guests=2")

    result.assert_outcomes(passed=18)
    ran = [line.split() for line in (pytester.path / "ran").read_text().splitlines()]
    assert sorted((name, int(number)) for name, number, _ in ran) == [
        (name, number) for name in names for number in range(3)
    ]


def test_what_a_dead_guest_had_begun_fails_and_the_other_runs_the_rest(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        test_a=MODULE.format(body="os._exit(0) if number == 1 else None"),
        test_b=MODULE.format(body="pass"),
        test_c=MODULE.format(body="pass"),
    )

    result = pytester.runpytest_inprocess(RUNS_IT, "--kernel-guests=2")

    result.assert_outcomes(passed=7, failed=2)


ONCE = """
import pathlib, pytest
@pytest.mark.kernel
def test_fails_the_first_time():
    seen = pathlib.Path("seen")
    if not seen.exists():
        seen.touch()
        assert "the first" == "time"
@pytest.mark.kernel
def test_well(): pass
"""


def test_what_failed_once_is_played_again_alone_and_its_failure_is_shown(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_inner=ONCE)

    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_fails_the_first_time, the first time:*",
            "*assert 'the first' == 'time'*",
            "*2 passed, 1 rerun*",
        ]
    )
    assert result.ret == pytest.ExitCode.OK


def test_what_fails_twice_fails(inner: pytest.Pytester) -> None:
    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*1 failed, 4 passed, 1 rerun*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_many_failures_are_no_accident(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_inner=MODULE.format(body="assert number > 5").replace("range(3)", "range(4)"))

    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(failed=4)
    assert "rerun" not in result.stdout.str()


def test_what_a_dead_guest_owes_is_played_again(inner: pytest.Pytester) -> None:
    dies = "os._exit(0) if number == 1 and not os.path.exists('died') and not os.mkdir('died') else None"
    inner.makepyfile(test_inner=MODULE.format(body=dies))

    result = inner.runpytest_inprocess(RUNS_IT)

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*no outcome came out of the guest*", "*3 passed, 2 rerun*"])


def test_what_the_guest_skips_is_told_with_its_reason(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        test_inner="""
        import pytest
        @pytest.mark.kernel
        def test_not_here(): pytest.skip("no such device")
        """
    )

    result = inner.runpytest_inprocess(RUNS_IT, "-rs")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no such device*"])
