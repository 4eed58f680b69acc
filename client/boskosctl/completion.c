// boskosctl completion: for shells, made of the tables of commands and flags.
#include <stdio.h>

#include "client/boskosctl/ctl.h"

#include "base/banned.h"

#define SHARED (CTL_BIT(CTL_OWNER_NAME) | CTL_BIT(CTL_SERVER_URL))

static bool takes(const struct ctl_command *c, const struct cli_flag *f)
{
    if (f->name[1] == '\0') return false; // -o is --output, -h is --help
    return f->number >= PROGRAM_FLAG_URL ||
           ((c->flags | c->required | SHARED) & CTL_BIT(f->number)) != 0;
}

static void print_commands(const char *before, const char *after)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
        (void)printf("%s%s%s", before, c->name, after);
}

static void print_bash(void)
{
    (void)puts(
        "# bash completion of boskosctl: source <(boskosctl completion bash)\n"
        "_boskosctl() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} i\n"
        "    local command=\n"
        "    case $before in\n"
        "    -o|--output) mapfile -t COMPREPLY < <(compgen -W 'json table name' -- \"$word\")"
        "; return ;;\n"
        "    --password-file|--token-file|--ca-file) mapfile -t COMPREPLY < "
        "<(compgen -f -- \"$word\"); return ;;\n"
        "    esac\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        case ${COMP_WORDS[i]} in");
    (void)printf("        ");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
        (void)printf("%s%s", c == ctl_commands ? "" : "|", c->name);
    (void)puts(") command=${COMP_WORDS[i]}; break ;;\n"
               "        esac\n"
               "    done\n"
               "    case $command in");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        (void)printf("    %s) mapfile -t COMPREPLY < <(compgen -W '", c->name);
        for (const struct cli_flag *f = ctl_flags; f->name != NULL; f++) {
            if (takes(c, f)) (void)printf("--%s ", f->name);
        }
        (void)printf("%s' -- \"$word\") ;;\n", c->run == ctl_completion ? "bash zsh fish" : "");
    }
    (void)printf("    *) mapfile -t COMPREPLY < <(compgen -W '");
    print_commands("", " ");
    (void)puts("--help --version' -- \"$word\") ;;\n"
               "    esac\n"
               "}\n"
               "complete -F _boskosctl boskosctl");
}

static void print_zsh(void)
{
    (void)puts("#compdef boskosctl\n"
               "# zsh completion of boskosctl: source <(boskosctl completion zsh)\n"
               "_boskosctl() {\n"
               "    local -a commands flags\n"
               "    commands=(");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
        (void)printf("        '%s:%s'\n", c->name, c->summary);
    (void)puts("    )\n"
               "    if (( CURRENT == 2 )); then\n"
               "        _describe command commands\n"
               "        return\n"
               "    fi\n"
               "    case ${words[CURRENT-1]} in\n"
               "    -o|--output) compadd json table name; return ;;\n"
               "    --password-file|--token-file|--ca-file) _files; return ;;\n"
               "    esac\n"
               "    case ${words[2]} in");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        (void)printf("    %s) flags=(", c->name);
        for (const struct cli_flag *f = ctl_flags; f->name != NULL; f++) {
            if (takes(c, f)) (void)printf("--%s ", f->name);
        }
        (void)printf("%s) ;;\n", c->run == ctl_completion ? "bash zsh fish" : "");
    }
    (void)puts("    esac\n"
               "    compadd -- $flags\n"
               "}\n"
               "compdef _boskosctl boskosctl");
}

static void print_fish(void)
{
    (void)puts("# fish completion of boskosctl: boskosctl completion fish | source\n"
               "complete -c boskosctl -f");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        (void)printf("complete -c boskosctl -n __fish_use_subcommand -a %s -d '%s'\n", c->name,
                     c->summary);
        for (const struct cli_flag *f = ctl_flags; f->name != NULL; f++) {
            if (!takes(c, f)) continue;
            const char *more = f->form == CLI_VALUE ? " -r" : "";
            if (strstr(f->name, "-file") != NULL) more = " -r -F";
            if (f->number == CTL_OUTPUT) more = " -s o -x -a 'json table name'";
            (void)printf("complete -c boskosctl -n '__fish_seen_subcommand_from %s' -l %s%s\n",
                         c->name, f->name, more);
        }
    }
    (void)puts("complete -c boskosctl -n '__fish_seen_subcommand_from completion' -a 'bash zsh "
               "fish'");
}

int ctl_completion(struct ctl *ctl)
{
    const char *shell = ctl->word != NULL ? ctl->word : "";
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (strcmp(shell, "fish") == 0)
        print_fish();
    else
        return ctl_say("Error: completion needs a shell: bash, zsh or fish");
    return cli_print("boskosctl", TEXT(""));
}
