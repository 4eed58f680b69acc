// Plays the scripts of $BOSKOS_TESTS/scripts, or those named as arguments.
#include "tests/script.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/banned.h"

#define SCRIPTS_MIN 13u // so that a folder that was not found is no success

static void test_scripts(void **unused)
{
    (void)unused;
    const char *tests = getenv("BOSKOS_TESTS");
    char pattern[4096];
    snprintf(pattern, sizeof(pattern), "%s/scripts/*.txt", tests != NULL ? tests : "tests");
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= SCRIPTS_MIN);
    uint32_t lines = 0, failed = 0;
    for (size_t i = 0; i < found.gl_pathc; i++)
        failed += !script_play(found.gl_pathv[i], &lines);
    print_message("%zu scripts, %u lines\n", found.gl_pathc, lines);
    globfree(&found);
    assert_int_equal(failed, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        uint32_t lines = 0;
        bool ok = true;
        for (int i = 1; i < argc; i++)
            ok &= script_play(argv[i], &lines);
        return ok ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scripts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
