"""Runs the tests of a program several at once: they wait for periods and time limits more than they work.

    if __name__ == "__main__":
        main()                # of the test program

    test_x.py                 # what is not marked @long_form
    test_x.py --long          # what is
    test_x.py Class.test ...  # these

A test must have everything that it changes for itself: folder, daemon, ports. @slow ones begin first, so that the last one
to end is not one of them. Standard library only.
"""

import concurrent.futures
import sys
import time
import unittest

AT_ONCE = 4


def long_form(test):
    """Marks a test, or a class of them, that repeats more of what another one shows."""
    test.is_long = True
    return test


def slow(test):
    """Marks a test that takes seconds."""
    test.is_slow = True
    return test


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _is_marked(test, mark):
    method = getattr(test, test._testMethodName, None)
    return getattr(method, mark, False) or getattr(test, mark, False)


def _find(words):
    loader, module = unittest.defaultTestLoader, sys.modules["__main__"]
    if words and words != ["--long"]:
        return list(_flat(loader.loadTestsFromNames(words, module)))
    return [t for t in _flat(loader.loadTestsFromModule(module)) if _is_marked(t, "is_long") == bool(words)]


def _run(test):
    result = unittest.TestResult()
    began = time.monotonic()
    test(result)
    word = "ok" if result.wasSuccessful() else "FAILED"
    for _, why in result.skipped:
        word = "skipped: " + why
    print(f"{time.monotonic() - began:7.2f} s  {test.id()} ... {word}", flush=True)
    return result


def main(at_once=AT_ONCE):
    began = time.monotonic()
    tests = sorted(_find(sys.argv[1:]), key=lambda t: not _is_marked(t, "is_slow"))
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(_run, tests))
    faults = [fault for r in results for fault in r.failures + r.errors]
    for test, text in faults:
        print(f"\n{'=' * 70}\n{test.id()}\n{text}", flush=True)
    good = bool(tests) and all(r.wasSuccessful() for r in results)
    print(f"{len(tests)} tests in {time.monotonic() - began:.1f} s: {'all is well' if good else 'NOT GOOD'}", flush=True)
    sys.exit(0 if good else 1)
