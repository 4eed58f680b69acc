// The progress line: when it comes, what it says, and that it never stands among what is printed.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "replay/output.h"

#include "base/banned.h"

#define GONE "\r\033[K"

// One place for both stdout and stderr, as a terminal is, and a clock that stands still until it is
// stepped. Nothing is asserted while stderr is taken: cmocka says there what failed.
struct fixture {
    uint64_t now_ns;
    int stderr_fd; // the true one
    struct progress progress;
    struct output out;
    char seen[1024];
};

static uint64_t stepped(void *context)
{
    return ((const struct fixture *)context)->now_ns;
}

static void begin(struct fixture *f, enum output_sink sink)
{
    *f = (struct fixture){.now_ns = 5 * NS_PER_S};
    FILE *place = tmpfile();
    assert_non_null(place);
    setbuf(place, NULL);
    f->progress = (struct progress){.clock = {stepped, stepped, f}, .is_wanted = true};
    f->out = (struct output){.file = place, .sink = sink, .progress = &f->progress};
    buffer_init(&f->out.line);
    f->stderr_fd = dup(STDERR_FILENO);
    (void)dup2(fileno(place), STDERR_FILENO);
    progress_begin(&f->progress, "commands");
}

static void step(struct fixture *f, uint64_t ms, uint64_t done, uint64_t total)
{
    f->now_ns += ms * NS_PER_MS;
    progress_said(&f->progress, done, total);
}

static void print(struct fixture *f, const char *text)
{
    output_string(&f->out, text);
    output_flush(&f->out);
}

static const char *end(struct fixture *f)
{
    progress_end(&f->progress);
    int err = output_close(&f->out);
    (void)dup2(f->stderr_fd, STDERR_FILENO);
    (void)close(f->stderr_fd);
    rewind(f->out.file);
    f->seen[fread(f->seen, 1, sizeof(f->seen) - 1, f->out.file)] = '\0';
    (void)fclose(f->out.file);
    assert_int_equal(err, 0);
    return f->seen;
}

static void it_comes_after_a_second(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, SINK_FILE);
    step(&f, 999, 40, 100);
    step(&f, 1, 50, 100);
    step(&f, 199, 59, 100); // five a second are enough
    step(&f, 1, 60, 100);
    step(&f, 300, 100, 100);
    assert_string_equal(end(&f), GONE "50 of 100 commands, 50/s, 2 s left" GONE
                                      "60 of 100 commands, 50/s, 1 s left" GONE
                                      "100 of 100 commands, 66/s" GONE);
}

static void each_work_begins_anew(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, SINK_FILE);
    step(&f, 1000, 10, 0);
    progress_begin(&f.progress, "records");
    step(&f, 900, 900, 0);
    step(&f, 100, 1000, 4000);
    assert_string_equal(end(&f), GONE "10 commands, 10/s" GONE GONE
                                      "1000 of 4000 records, 1000/s, 4 s left" GONE);
}

static void none_where_none_is_wanted(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, SINK_TERMINAL);
    f.progress.is_wanted = false; // stderr is no terminal
    step(&f, 5000, 10, 100);
    print(&f, "one\n");
    step(&f, 5000, 20, 100);
    assert_string_equal(end(&f), "one\n");
}

static void on_a_terminal_it_makes_way(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, SINK_TERMINAL);
    step(&f, 1000, 10, 100);
    print(&f, "one\ntwo\n");
    print(&f, "");
    step(&f, 1000, 20, 100);
    print(&f, "three\n");
    print(&f, "four\n");
    assert_string_equal(end(&f), GONE "10 of 100 commands, 10/s, 10 s left" GONE "one\ntwo\n" GONE
                                      "20 of 100 commands, 10/s, 9 s left" GONE "three\nfour\n");
}

static void after_a_part_of_a_line_it_is_over(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, SINK_TERMINAL);
    step(&f, 1000, 10, 100);
    print(&f, "[1,");
    step(&f, 1000, 20, 100);
    print(&f, "2]\n");
    step(&f, 1000, 30, 100);
    assert_string_equal(end(&f), GONE "10 of 100 commands, 10/s, 10 s left" GONE "[1,2]\n");
}

// A pager has the terminal from the first line on.
static void after_anything_into_a_pipe_it_is_over(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, SINK_PIPE);
    step(&f, 1000, 10, 100);
    print(&f, "one\n");
    step(&f, 1000, 20, 100);
    assert_string_equal(end(&f), GONE "10 of 100 commands, 10/s, 10 s left" GONE "one\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_after_a_second),
        cmocka_unit_test(each_work_begins_anew),
        cmocka_unit_test(none_where_none_is_wanted),
        cmocka_unit_test(on_a_terminal_it_makes_way),
        cmocka_unit_test(after_a_part_of_a_line_it_is_over),
        cmocka_unit_test(after_anything_into_a_pipe_it_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
