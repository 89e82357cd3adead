/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `gradc bench`: which entries it times, and what it says of them. */
#include "tests/command.h"
#include "tests/suite.h"

#define GATE ROOT "examples/link/gate.onnx"

START_TEST(json_has_each_entry_and_the_circumstances)
{
    static const char *const keys[] = {"forward", "forward_train", "backward", "step",
                                       "min_us",  "median_us",     "p90_us",   "compile_s",
                                       "cpu",     "arena_bytes"};
    gradc("bench", GATE, "--train=sgd", "--json");
    ck_exit(0, "bench");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char key[32];
        snprintf(key, sizeof key, "\"%s\"", keys[i]);
        ck_assert_msg(strstr(said.out, key) != NULL, "%s is not in %s", key, said.out);
    }
}
END_TEST

START_TEST(entries_are_selected)
{
    gradc("bench", GATE, "--train=sgd", "--entries=step");
    ck_exit(0, "bench");
    ck_assert_msg(strstr(said.out, "\nstep ") && !strstr(said.out, "\nforward ") &&
                      !strstr(said.out, "\nbackward "),
                  "%s", said.out);
    gradc("bench", GATE, "--train=sgd", "--entries=all");
    ck_exit(2, "an unknown entry");
    ck_says("there is no entry 'all'");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("driver_bench");
    TCase *c = tcase_create("bench");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, command_setup, command_teardown);
    tcase_add_test(c, json_has_each_entry_and_the_circumstances);
    tcase_add_test(c, entries_are_selected);
    suite_add_tcase(s, c);
    return suite_run(s);
}
