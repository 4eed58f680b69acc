// tests/model/model_recordings.h
//
// Plays a recorded history of a running Boskos (tests/conformance/rules) through the model.
#ifndef TESTS_MODEL_MODEL_RECORDINGS_H
#define TESTS_MODEL_MODEL_RECORDINGS_H

#include <stdbool.h>
#include <stdint.h>

// True when every reply and every dump agrees; else the first difference is printed with its line.
// *ret_steps is how many lines were played.
bool recording_play(const char *path, uint32_t *ret_steps);

#endif
