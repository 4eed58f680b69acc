// tests/test_statemachine.h
//
// The tests of statemachine/ by file, and what they share.
#ifndef TESTS_TEST_STATEMACHINE_H
#define TESTS_TEST_STATEMACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "statemachine/state_machine.h"

// test_statemachine_order.c
void test_order_random(void **unused);
void test_order_first_in_first_out(void **unused);

// test_statemachine_codec.c
void test_commands_round_trip(void **unused);
void test_commands_numbers(void **unused);
void test_commands_refused(void **unused);
void test_imports_refused(void **unused);
void test_commands_damaged(void **unused);

#endif
