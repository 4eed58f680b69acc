// engine/config_command.h
//
// From what config/ read to the `config` command of the state machine.
#ifndef ENGINE_CONFIG_COMMAND_H
#define ENGINE_CONFIG_COMMAND_H

#include "config/config.h"
#include "statemachine/command.h"

// The command that puts `c` in force; kind and parameters are set. Returned as one block of memory,
// caller frees with free(). Its texts are borrowed from `c`.
struct command *config_command_new(const struct config *c);

#endif
