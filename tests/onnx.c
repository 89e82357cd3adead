/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * ONNX files: fixtures against the values that onnxruntime or torch gave, wrong files against their
 * messages, and every truncation of a small one. With arguments MODEL.onnx VALUES.npz [train] it
 * compares just those. */
#include "frontend/onnx/onnx.h"
#include "files/npy.h"
#include "passes/passes.h"
#include "tests/suite.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/fixtures/onnx"

typedef struct report {
    char text[20000];
    size_t used;
} report;

static void sink(void *user, const base_diagnostic *d)
{
    report *l = user;
    if (l->used + 4500 > sizeof l->text || d->severity == BASE_NOTE)
        return;
    if (d->loc && d->loc->node >= 0)
        l->used +=
            (size_t)snprintf(l->text + l->used, 300, "node %d '%.100s' (%.100s): ", d->loc->node,
                             d->loc->name ? d->loc->name : "", d->loc->op ? d->loc->op : "");
    l->used += (size_t)snprintf(l->text + l->used, 4000, "%s\n", d->text);
}

/* How far two tensors are apart, relative to the larger of 1 and the second's largest. */
static double apart(const ir_literal *a, const ir_literal *b)
{
    double worst = 0, most = 1;
    for (int64_t i = 0; i < ir_count(&b->type); i++) {
        double x = ir_literal_get(a, i), y = ir_literal_get(b, i);
        if (isnan(x) && isnan(y))
            continue;
        if (isinf(y) ? x != y : isnan(x) || isnan(y))
            return INFINITY;
        if (isinf(y))
            continue;
        worst = fmax(worst, fabs(x - y));
        most = fmax(most, fabs(y));
    }
    return worst / most;
}

static const ir_port *result_named(const ir_func *f, const char *name)
{
    for (int i = 0; i < f->results.count; i++) {
        const ir_port *p = &f->results.items[i];
        if (!strcmp(p->bind == IR_STATE ? p->state->name : p->name, name))
            return p;
    }
    return NULL;
}

/* Evaluates f and compares every value whose name in the file starts with `prefix`. Fills *why if
 * anything differs. */
static bool compare(const ir_func *f, const ir_tensors *values, const char *prefix,
                    double tolerance, char *why, size_t room)
{
    base_arena *arena = f->module->arena;
    ir_literal **args = base_array(arena, ir_literal *, f->params.count + 1),
               **results = base_array(arena, ir_literal *, f->results.count + 1);
    for (int i = 0; i < f->params.count; i++) {
        const ir_port *p = &f->params.items[i];
        args[i] = p->bind == IR_STATE
                      ? p->state->init
                      : ir_tensor_by_name(values, base_format(arena, "in/%s", p->name));
        if (!args[i] && p->bind == IR_STATE)
            args[i] = ir_literal_new(arena, &p->state->type);
        if (!args[i] || !ir_type_eq(&args[i]->type, &p->value->type)) {
            snprintf(why, room, "no value of %s for input %s", ir_type_text(arena, &p->value->type),
                     p->name);
            return false;
        }
    }
    bool bad = false;
    ir_eval(arena, f, args, results, &bad);
    if (bad)
        snprintf(why, room, "an index is out of range");
    int compared = 0;
    for (int i = 0; i < values->count && !bad; i++) {
        if (strncmp(values->items[i].name, prefix, strlen(prefix)))
            continue;
        const char *name = values->items[i].name + strlen(prefix);
        const ir_port *p = result_named(f, name);
        const ir_literal *due = values->items[i].value,
                         *got = p ? results[p - f->results.items] : NULL;
        double d = got && ir_type_eq(&got->type, &due->type) ? apart(got, due) : INFINITY;
        if (!(d <= tolerance)) {
            snprintf(why, room, "%s%s is %s, %g apart from %s", prefix, name,
                     got ? ir_type_text(arena, &got->type) : "not there", d,
                     ir_type_text(arena, &due->type));
            return false;
        }
        compared++;
    }
    return !bad && (compared || (snprintf(why, room, "nothing to compare with"), false));
}

/* True if the model reads and gives the values; `why` says what is wrong. Inputs that decide shapes
 * are offered. */
static bool agrees(const char *model, const char *npz, bool training, char *why, size_t room)
{
    report said = {{0}, 0};
    base_ctx *ctx = base_ctx_new(sink, &said);
    base_arena *arena = base_arena_new(ctx);
    ir_tensors values = {0};
    bool ok = false;
    base_try frame;
    if (!setjmp(base_try_push(ctx, &frame))) {
        if (npz_read_file(arena, npz, &values)) {
            onnx_input *offered = base_array(arena, onnx_input, values.count + 1);
            onnx_shape *shapes = base_array(arena, onnx_shape, values.count + 1);
            int n = 0;
            for (int i = 0; i < values.count; i++)
                if (!strncmp(values.items[i].name, "in/", 3)) {
                    offered[n] =
                        (onnx_input){values.items[i].name + 3, values.items[i].value, NULL};
                    shapes[n] = (onnx_shape){.input = values.items[i].name + 3,
                                             .rank = values.items[i].value->type.rank};
                    memcpy(shapes[n].dim, values.items[i].value->type.dim, sizeof shapes[n].dim);
                    n++;
                }
            ir_module *m = onnx_read_file(ctx, arena, model,
                                          &(onnx_options){.offered = offered,
                                                          .noffered = n,
                                                          .shapes = shapes,
                                                          .nshapes = n,
                                                          .training = training});
            if (m) {
                ir_verify(m);
                ok = compare(ir_func_by_name(m, "forward"), &values, "out/", 2e-5, why, room);
                if (ok && training)
                    ok = compare(ir_func_by_name(m, "train"), &values, "train/", 2e-5, why, room);
                const char *const rewriting[] = {"inline", "simplify", "fold",
                                                 "cse",    "simplify", "dce"};
                for (int i = 0; ok && i < 6; i++)
                    if (pass_by_name(rewriting[i]))
                        pass_run_one(m, pass_by_name(rewriting[i]), true);
                if (ok &&
                    !compare(ir_func_by_name(m, "forward"), &values, "out/", 2e-5, why, room)) {
                    ok = false;
                    strncat(why, " (after the passes)", room - strlen(why) - 1);
                }
            } else {
                snprintf(why, room, "%.*s", (int)(room > 800 ? 800 : room) - 1, said.text);
            }
        } else {
            snprintf(why, room, "%.200s", said.text);
        }
        base_try_pop(ctx, &frame);
    } else {
        snprintf(why, room, "stopped: %s", base_ctx_why(ctx));
    }
    base_ctx_free(ctx);
    return ok;
}


/* Names of the .onnx files of a folder without their ending, in the arena. */
typedef struct names {
    const char **items;
    int count, capacity;
} names;

static names models_in(base_arena *arena, const char *folder)
{
    names all = {0};
    DIR *d = opendir(folder);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n > 5 && !strcmp(e->d_name + n - 5, ".onnx"))
            BASE_PUSH(arena, &all, base_strndup(arena, e->d_name, n - 5));
    }
    closedir(d);
    return all;
}

START_TEST(fixtures_agree)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    names all = models_in(arena, FOLDER);
    ck_assert_int_gt(all.count, 20);
    for (int i = 0; i < all.count; i++) {
        char why[1000] = "";
        bool training = strstr(all.items[i], "_script") || strstr(all.items[i], "_export");
        const char *stem = base_format(arena, FOLDER "/%s", all.items[i]);
        ck_assert_msg(agrees(base_format(arena, "%s.onnx", stem),
                             base_format(arena, "%s.npz", stem), training, why, sizeof why),
                      "%s: %s", all.items[i], why);
    }
    base_ctx_free(ctx);
}
END_TEST

/* What reading says about the bytes; NULL if they are a model. */
static const char *refusal(const void *bytes, size_t size, report *said)
{
    base_ctx *ctx = base_ctx_new(sink, said);
    base_arena *arena = base_arena_new(ctx);
    volatile bool read = false;
    base_try frame;
    said->used = 0;
    said->text[0] = 0;
    if (!setjmp(base_try_push(ctx, &frame))) {
        ir_module *m = onnx_read_memory(ctx, arena, bytes, size, "x.onnx", FOLDER "/wrong", NULL);
        if (m)
            ir_verify(m);
        read = m != NULL;
        ck_assert_int_eq(read, base_error_count(ctx) == 0);
        base_try_pop(ctx, &frame);
    }
    base_ctx_free(ctx);
    return read ? NULL : said->text;
}

START_TEST(wrong_files_are_refused)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    names all = models_in(arena, FOLDER "/wrong");
    ck_assert_int_gt(all.count, 40);
    for (int i = 0; i < all.count; i++) {
        static report said;
        base_data model, message;
        const char *stem = base_format(arena, FOLDER "/wrong/%s", all.items[i]);
        ck_assert(
            base_read_whole_file(arena, base_format(arena, "%s.onnx", stem), 1 << 20, &model) &&
            base_read_whole_file(arena, base_format(arena, "%s.txt", stem), 1 << 20, &message));
        message.bytes[strcspn((char *)message.bytes, "\n")] = 0;
        const char *text = refusal(model.bytes, model.size, &said);
        ck_assert_msg(text && *text && strstr(text, (char *)message.bytes),
                      "%s: expected '%s', found '%s'", all.items[i], (char *)message.bytes,
                      text ? text : "no error");
    }
    base_ctx_free(ctx);
}
END_TEST

START_TEST(truncated_and_changed_files_do_no_harm)
{
    static report said;
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    const char *files[] = {"loop", "function", "if_true", "scan"};
    for (int k = 0; k < 4; k++) {
        base_data d;
        ck_assert(base_read_whole_file(arena, base_format(arena, FOLDER "/%s.onnx", files[k]),
                                       1 << 20, &d));
        ck_assert_ptr_null(refusal(d.bytes, d.size, &said));
        int refused = 0;
        for (size_t n = 0; n < d.size; n++)
            refused += refusal(d.bytes, n, &said) != NULL;
        ck_assert_int_gt(refused, (int)d.size * 9 / 10);
        for (size_t at = 0; at < d.size; at++)
            for (int c = 0; c < 3; c++) {
                unsigned char was = d.bytes[at];
                d.bytes[at] = (unsigned char)(c == 0 ? was ^ 1 << at % 8 : c == 1 ? 255 : was + 1);
                refusal(d.bytes, d.size, &said);
                d.bytes[at] = was;
            }
    }
    base_ctx_free(ctx);
}
END_TEST

START_TEST(wire_limits)
{
    static report said;
    enum { DEEP = 300000 };
    unsigned char *b = malloc(12 * DEEP);
    ck_assert_ptr_nonnull(b);
    ck_assert(strstr(refusal("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, &said),
                     "longer than ten bytes"));
    ck_assert(strstr(refusal("\x00\x00", 2, &said), "out of range"));
    ck_assert(strstr(refusal("\x3a\x7f", 2, &said), "extends beyond"));
    /* By one byte, into what follows. */
    ck_assert(strstr(refusal("\x3a\x03\x0a\x02\x00\x08\x08", 7, &said), "extends beyond"));
    for (int i = 0; i < 17; i++)
        memcpy(b + 2 * i, "\x3a", 2); /* a graph that stands twice is merged, … */
    ck_assert(!strstr(refusal(b, 34, &said), "repeated too often"));
    memcpy(b + 34, "\x3a", 2); /* … but not for ever */
    ck_assert(strstr(refusal(b, 36, &said), "repeated too often"));
    ck_assert(strstr(refusal("\x3d\0\0\0\0", 5, &said), "wrong wire type"));
    ck_assert(strstr(refusal("\x12\x02\xc0\x80", 4, &said), "not valid UTF-8"));
    memset(b, 0x3b, DEEP); /* start of a group, nested */
    ck_assert(strstr(refusal(b, DEEP, &said), "wrong wire type"));
    memset(b, 0x0b | 0x60, DEEP);
    ck_assert(strstr(refusal(b, DEEP, &said), "groups"));
    /* graph > node > attribute > graph …, written from the inside */
    size_t at = 12 * DEEP, inner = 0;
    const unsigned char tags[] = {0x32, 0x2a, 0x0a};
    for (int i = 0; i < DEEP && at > 20; i++) {
        size_t n = inner;
        unsigned char length[10];
        int k = 0;
        do
            length[k++] = (unsigned char)((n & 127) | (n > 127 ? 128 : 0));
        while (n >>= 7);
        at -= (size_t)k;
        memcpy(b + at, length, (size_t)k);
        b[--at] = tags[i % 3];
        inner = 12 * DEEP - at;
    }
    size_t n = inner;
    unsigned char length[10];
    int k = 0;
    do
        length[k++] = (unsigned char)((n & 127) | (n > 127 ? 128 : 0));
    while (n >>= 7);
    at -= (size_t)k;
    memcpy(b + at, length, (size_t)k);
    b[--at] = 0x3a;
    const char *text = refusal(b + at, 12 * DEEP - at, &said);
    ck_assert_msg(text && strstr(text, "nested more than"), "found '%s'", text);
    free(b);
}
END_TEST

START_TEST(each_failed_allocation_comes_back)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    base_data d;
    ck_assert(base_read_whole_file(arena, FOLDER "/loop.onnx", 1 << 20, &d));
    for (int n = 1;; n += 7) {
        base_ctx *inner = base_ctx_new(NULL, NULL);
        base_fail_allocation(inner, n, n % 2);
        base_try frame;
        volatile bool done = false;
        if (!setjmp(base_try_push(inner, &frame))) {
            done = onnx_read_memory(inner, base_arena_new(inner), d.bytes, d.size, "x", NULL,
                                    NULL) != NULL;
            base_try_pop(inner, &frame);
        }
        ck_assert(done || base_error_count(inner) > 0);
        base_ctx_free(inner);
        if (done)
            break;
    }
    base_ctx_free(ctx);
}
END_TEST

START_TEST(what_trains)
{
    base_ctx *ctx = base_ctx_new(NULL, NULL);
    base_arena *arena = base_arena_new(ctx);
    const char *files[] = {FOLDER "/conv_script.onnx", FOLDER "/conv_export.onnx"};
    for (int k = 0; k < 2; k++) {
        ir_module *m = onnx_read_file(ctx, arena, files[k], &(onnx_options){.training = true});
        ck_assert_ptr_nonnull(m);
        const char *trains[] = {"c.weight", "c.bias", "b.weight", "b.bias", "f.weight", "f.bias"},
                   *stays[] = {"b.running_mean", "b.running_var"};
        for (int i = 0; i < 6; i++) {
            ir_state *s = ir_state_by_name(m, trains[i]);
            ck_assert_msg(s && s->trainable && s->kind == IR_PARAM && s->why, "%s", trains[i]);
        }
        for (int i = 0; i < 2; i++) {
            ir_state *s = ir_state_by_name(m, stays[i]);
            ck_assert_msg(s && !s->trainable && s->kind == IR_STAT, "%s", stays[i]);
        }
        ir_func *forward = ir_func_by_name(m, "forward"), *train = ir_func_by_name(m, "train");
        ck_assert(forward->entry && !train->entry && forward->loss == 0 && train->loss == 0);
        ck_assert_int_eq(train->results.count, k == 0 ? 4 : 2);
    }
    onnx_facts facts = {0};
    ck_assert_ptr_nonnull(
        onnx_read_file(ctx, arena, FOLDER "/conv_script.onnx", &(onnx_options){.facts = &facts}));
    ck_assert(facts.has_training_ops && !facts.torch_list && facts.nodes.count > 5 &&
              facts.nodes.items[0].forward);
    ck_assert_str_eq(facts.nodes.items[0].op, "Conv");
    facts = (onnx_facts){0};
    ck_assert_ptr_nonnull(
        onnx_read_file(ctx, arena, FOLDER "/conv_export.onnx", &(onnx_options){.facts = &facts}));
    ck_assert(!facts.has_training_ops && facts.torch_list && facts.merged_params.count == 0);
    ck_assert_ptr_null(
        onnx_read_file(ctx, arena, FOLDER "/conv_export.onnx",
                       &(onnx_options){.baked = &(onnx_input){"z", NULL, NULL}, .nbaked = 1}));
    ck_assert_str_eq(base_ctx_why(ctx), "there is no input 'z' to bake");
    base_ctx_free(ctx);
}
END_TEST

START_TEST(the_table_is_whole)
{
    onnx_op_info op, last = {.name = ""};
    int n = 0;
    for (; onnx_op_at(n, &op); n++) {
        ck_assert(op.since >= 1 && (!op.last || op.last >= op.since) && *op.gradient);
        if (n && !strcmp(op.name, last.name) && !strcmp(op.domain, last.domain))
            ck_assert_msg((last.last && last.last < op.since) || (op.last && op.last < last.since),
                          "%s", op.name);
        last = op;
    }
    ck_assert_int_gt(n, 150);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 2) {
        char why[1000] = "";
        bool ok = agrees(argv[1], argv[2], argc > 3, why, sizeof why);
        printf("%s %s\n", ok ? "ok" : "WRONG", why);
        return !ok;
    }
    Suite *s = suite_create("onnx");
    TCase *c = tcase_create("onnx");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, fixtures_agree);
    tcase_add_test(c, wrong_files_are_refused);
    tcase_add_test(c, truncated_and_changed_files_do_no_harm);
    tcase_add_test(c, wire_limits);
    tcase_add_test(c, each_failed_allocation_comes_back);
    tcase_add_test(c, what_trains);
    tcase_add_test(c, the_table_is_whole);
    suite_add_tcase(s, c);
    return suite_run(s);
}
