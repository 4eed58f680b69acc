// The config file while the engine runs: every way to change it, and what is wrong with it.
#include "tests/engine_fixture.h"
#include "tests/engine_parts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/banned.h"

#define CONFIG_OF(name) "resources: [{type: a, names: [" name "]}]\n"

static void await_loads(struct fixture *f, uint64_t loads, const char *name)
{
    EVENTUALLY(figures_of(f).config_loads == loads);
    assert_string_equal(see(f, name).state, "free");
}

static void changed_in_place(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, CONFIG_OF("x1"));
    fixture_open(f);
    file_put(f->config, CONFIG_OF("x2"));
    await_loads(f, 2, "x2");
    assert_string_equal(see(f, "x1").state, "-");
    file_put(f->config, CONFIG_OF("x3"));
    await_loads(f, 3, "x3");
}

static void renamed_into_place(void **state)
{
    struct fixture *f = *state;
    char other[FILE_BYTES + 8];
    snprintf(other, sizeof(other), "%s.new", f->config);
    file_put(f->config, CONFIG_OF("x1"));
    fixture_open(f);
    for (uint64_t i = 0; i < 2; i++) { // the second time the first file is no more
        file_put(other, i == 0 ? CONFIG_OF("x2") : CONFIG_OF("x3"));
        assert_int_equal(rename(other, f->config), 0);
        await_loads(f, i + 2, i == 0 ? "x2" : "x3");
    }
}

// As a mounted config map: config.yaml -> ..data/config.yaml, ..data -> ..N, swapped by a rename.
static void symlink_swapped(void **state)
{
    static const char *const texts[] = {CONFIG_OF("x1"), CONFIG_OF("x2"), CONFIG_OF("x2"),
                                        CONFIG_OF("x3")};
    struct fixture *f = *state;
    char folder[FILE_BYTES], file[FILE_BYTES * 2], data[FILE_BYTES], temp[FILE_BYTES];
    snprintf(data, sizeof(data), "%s/..data", f->dir);
    snprintf(temp, sizeof(temp), "%s/..data_tmp", f->dir);
    assert_int_equal(unlink(f->config), 0);
    assert_int_equal(symlink("..data/config.yaml", f->config), 0);
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(folder, sizeof(folder), "%s/..%u", f->dir, i);
        snprintf(file, sizeof(file), "%s/config.yaml", folder);
        assert_int_equal(mkdir(folder, 0700), 0);
        file_put(file, texts[i]);
    }
    assert_int_equal(symlink("..0", data), 0);
    fixture_open(f);
    assert_int_equal(symlink("..1", temp), 0);
    assert_int_equal(rename(temp, data), 0);
    await_loads(f, 2, "x2");
    // To the same bytes: no command; and the new folder is watched from then on.
    assert_int_equal(symlink("..2", temp), 0);
    assert_int_equal(rename(temp, data), 0);
    usleep(400000);
    snprintf(file, sizeof(file), "%s/..2/config.yaml", f->dir);
    file_put(file, CONFIG_OF("x4"));
    await_loads(f, 3, "x4");
    assert_int_equal(symlink("..3", temp), 0);
    assert_int_equal(rename(temp, data), 0);
    await_loads(f, 4, "x3");
}

static void bad_file_keeps_the_old(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, CONFIG_OF("x1"));
    fixture_open(f);
    file_put(f->config, "resources: [{type: a, names: [x1, 'not a name']}]\n");
    EVENTUALLY(figures_of(f).config_bad == 1);
    assert_int_equal(figures_of(f).config_errors, 1);
    EVENTUALLY(log_has(f, "the config before stays in force"));
    assert_string_equal(see(f, "x1").state, "free");
    file_put(f->config, "resources: [");
    EVENTUALLY(figures_of(f).config_errors == 2);
    file_put(f->config, ""); // truncated: nothing is deleted because of it
    EVENTUALLY(figures_of(f).config_errors == 3);
    assert_string_equal(see(f, "x1").state, "free");
    assert_int_equal(figures_of(f).config_loads, 1);
    // Good again, with the meaning it had: no command.
    file_put(f->config, "# again\n" CONFIG_OF("x1"));
    EVENTUALLY(figures_of(f).config_bad == 0);
    file_put(f->config, CONFIG_OF("x2"));
    await_loads(f, 2, "x2");
    fixture_close(f);
    struct entries e = log_read(f->data);
    assert_int_equal(entries_of(&e, COMMAND_CONFIG), 2);
    entries_free(&e);
}

// A writer that is slow: what is not closed yet is not read, however valid it is.
static void half_written(void **state)
{
    static const char first[] = "resources: \n- {type: a, names: [x1]}\n";
    static const char rest[] = "- {type: b, names: [x2]}\n";
    struct fixture *f = *state;
    file_put(f->config, "resources: [{type: a, names: [x1]}, {type: b, names: [x2]}]\n");
    fixture_open(f);
    int fd = open(f->config, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, first, strlen(first)), strlen(first));
    usleep(400000);
    assert_int_equal(figures_of(f).config_loads, 1);
    assert_int_equal(write(fd, rest, strlen(rest)), strlen(rest));
    (void)close(fd);
    usleep(400000);
    assert_int_equal(figures_of(f).config_loads, 1); // it means what it meant
    assert_string_equal(see(f, "x2").state, "free");
}

// Asked for, whether or not the file changed; a file that is gone is a loud line.
static void asked_to_read(void **state)
{
    struct fixture *f = *state;
    file_put(f->config, CONFIG_OF("x1"));
    fixture_open(f);
    assert_int_equal(unlink(f->config), 0);
    engine_reload(f->engine);
    EVENTUALLY(figures_of(f).config_bad == 1);
    assert_string_equal(see(f, "x1").state, "free");
    file_put(f->config, CONFIG_OF("x2"));
    await_loads(f, 2, "x2");
    assert_int_equal(figures_of(f).config_bad, 0);
    engine_stop(f->engine);
    engine_reload(f->engine); // too late, and harmless
}

int engine_config_tests(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(changed_in_place), ENGINE_TEST(renamed_into_place),
        ENGINE_TEST(symlink_swapped),  ENGINE_TEST(bad_file_keeps_the_old),
        ENGINE_TEST(half_written),     ENGINE_TEST(asked_to_read),
    };
    return cmocka_run_group_tests_name("engine config", tests, NULL, NULL);
}
