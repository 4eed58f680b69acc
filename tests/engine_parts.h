// tests/engine_parts.h
//
// The parts of the program `test_engine`; each runs its tests and returns how many failed.
#ifndef TESTS_ENGINE_PARTS_H
#define TESTS_ENGINE_PARTS_H

int engine_time_tests(void);
int engine_grace_tests(void);
int engine_recovery_tests(void);
int engine_running_tests(void);
int engine_config_tests(void);

#endif
