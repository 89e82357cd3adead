/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Targets of libFuzzer (https://llvm.org/docs/LibFuzzer.html), one for each reader of files:
 * tests/fuzz.sh runs them. The ordinary build links them with replay.c in place of libFuzzer: then
 * they are tests that read the seeds, what fuzzing has found, and mutants of both.
 *
 * How to add one: a row in tests/fuzz/CMakeLists.txt, a LLVMFuzzerTestOneInput, and a mutator where
 * most changes of a byte would only be refused at the door. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What a target defines; the last two are optional. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t n1, const uint8_t *two, size_t n2,
                                 uint8_t *out, size_t room, unsigned seed);

/* libFuzzer's own mutations, for a part of the data. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* A number below n; splitmix64. */
static inline uint32_t fuzz_draw(uint64_t *state, size_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) % (n ? n : 1));
}

#endif
