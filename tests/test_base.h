// tests/test_base.h
//
// What the program test_base is made of, beside its main.
#ifndef TESTS_TEST_BASE_H
#define TESTS_TEST_BASE_H

// Runs the tests of base/log.h; returns how many failed.
int test_base_log(void);

// Runs the tests of base/cli.h; returns how many failed.
int test_base_cli(void);

#endif
