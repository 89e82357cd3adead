/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * `run` and `bench`: run the code in this process, with inputs from files. */
#include "api/session.h"
#include "api/execute.h"
#include "base/path.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Inputs ---- */

/* The file's value as the expected type: unchanged, or f32 converted to f64 with --f64. */
static void *fitting(api_session *s, const char *what, const char *name, const char *file,
                     const ir_literal *value, const ir_type *due)
{
    if (ir_type_eq(&value->type, due))
        return value->data;
    ir_type narrow = *due;
    narrow.dtype = IR_F32;
    if (s->options.f64 && due->dtype == IR_F64 && ir_type_eq(&value->type, &narrow)) {
        ir_literal *wide = ir_literal_new(s->arena, due);
        for (int64_t i = 0, n = ir_count(due); i < n; i++)
            ((double *)wide->data)[i] = (double)((const float *)value->data)[i];
        return wide->data;
    }
    api_error(s, "%s '%s' is %s, but %s has %s", what, name, ir_type_text(s->arena, due), file,
              ir_type_text(s->arena, &value->type));
    return NULL;
}

static void *made_up(api_session *s, const ir_type *t, uint64_t *random)
{
    ir_literal *l = ir_literal_new(s->arena, t);
    for (int64_t i = 0, n = ir_count(t); i < n && ir_is_float(t->dtype); i++) {
        double sum = -6; /* of twelve uniform numbers: close to a normal one */
        for (int k = 0; k < 12; k++) {
            *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            sum += (double)(*random >> 40) / (double)(1 << 24);
        }
        ir_literal_set(l, i, sum);
    }
    return l->data;
}

/* The type that a member has in the only specialisation that runs. */
static const ir_type *member_type(const cg_member *m)
{
    return m->type[0];
}

static bool set_inputs(api_session *s, api_machine *m, bool fill)
{
    const cg_part *inputs = &s->object->part[CG_INPUTS];
    uint64_t random = s->options.seed < 0 ? 1 : (uint64_t)s->options.seed + 1;
    bool ok = true;
    for (int i = 0; i < inputs->count; i++) {
        const cg_member *x = &inputs->items[i];
        const ir_literal *value = ir_tensor_by_name(&s->given, x->name);
        void *data =
            value  ? fitting(s, "input", x->name, api_input_file(s, x->name), value, member_type(x))
            : fill ? made_up(s, member_type(x), &random)
                   : NULL;
        if (value || data)
            api_machine_set(m, CG_INPUTS, x->name, data);
        ok &= !value || data;
    }
    return ok;
}

api_machine *api_start(api_session *s, bool fill)
{
    api_machine_options o = {s->options.threads < 1 ? 1 : (uint32_t)s->options.threads,
                             s->options.seed < 0 ? 0 : (uint64_t)s->options.seed};
    api_machine *m = api_machine_new(s->ctx, s->arena, s->object, &o);
    return m && set_inputs(s, m, fill) ? m : NULL;
}

/* ---- Calls ---- */

static void make_results(api_session *s, api_machine *m, int part, api_results *r, bool grad)
{
    const cg_part *p = &s->object->part[part];
    for (int i = 0; i < p->count; i++) {
        api_result x = {p->items[i].name, ir_literal_new(s->arena, member_type(&p->items[i])),
                        grad};
        api_machine_set(m, part, x.name, x.value->data);
        BASE_PUSH(s->arena, r, x);
    }
}

static bool set_cotangents(api_session *s, api_machine *m)
{
    const cg_part *p = &s->object->part[CG_COTANGENTS];
    for (int i = 0; i < s->options.cotangent.count; i++) {
        const api_pair *c = &s->options.cotangent.items[i];
        ir_literal *value = npy_read_file(s->arena, c->value);
        if (!value)
            return false;
        for (int k = 0; k < p->count; k++) {
            if (strcmp(p->items[k].name, c->name))
                continue;
            void *data =
                fitting(s, "cotangent", c->name, c->value, value, member_type(&p->items[k]));
            if (!data)
                return false;
            api_machine_set(m, CG_COTANGENTS, c->name, data);
        }
    }
    return true;
}

static void take_gradients(api_session *s, api_machine *m, api_results *r)
{
    size_t count;
    const char *block = (const char *)gradc_rt_grad_block(api_machine_ctx(m), &count);
    const gradc_rt_tensor *t;
    /* f64 if all gradients are, else f32 */
    size_t element = count ? (size_t)s->object->sizes.grads / count : 0;
    for (size_t i = 0; (t = api_machine_param(m, i)); i++) {
        if (!t->trainable)
            continue;
        ir_type type = ir_type_of((ir_dtype)t->dtype, t->rank, t->shape);
        api_result x = {t->name, ir_literal_new(s->arena, &type), true};
        if (t->grad_at != SIZE_MAX)
            memcpy(x.value->data, block + t->grad_at * element, t->bytes);
        BASE_PUSH(s->arena, r, x);
    }
}

/* The type of an input, for a message. */
static const char *input_type(api_session *s, const char *name)
{
    const cg_part *p = &s->object->part[CG_INPUTS];
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->items[i].name, name))
            return ir_type_text(s->arena, member_type(&p->items[i]));
    return "?";
}

/* The missing input that made an entry fail; NULL: it failed for another reason. */
static const char *missing_input(api_session *s, api_machine *m, gradc_rt_status status)
{
    const char *name =
        status == GRADC_RT_E_ARGUMENT ? gradc_rt_last_error(api_machine_ctx(m))->tensor : NULL;
    const cg_part *p = &s->object->part[CG_INPUTS];
    for (int i = 0; i < p->count && name; i++)
        if (!strcmp(p->items[i].name, name))
            return ir_tensor_by_name(&s->given, name) ? NULL : name;
    return NULL;
}

static bool report_missing(api_session *s, const char *name)
{
    api_error(s, "input '%s' (%s) is missing; give --input %s=FILE.npy", name, input_type(s, name),
              name);
    return false;
}

/* Calls an entry. An output that needs a missing input is left out, unless no output would be
 * left. */
static bool call_with_what_is_given(api_session *s, api_machine *m, int entry, api_results *r)
{
    gradc_rt_status status = api_machine_call(m, entry, false);
    const char *missing = missing_input(s, m, status);
    if (!missing)
        return api_machine_ok(m, entry, status);
    int kept = 0;
    for (int i = 0; i < r->count; i++)
        api_machine_set(m, CG_OUTPUTS, r->items[i].name, NULL);
    for (int i = 0; i < r->count; i++) { /* each alone: does it need the input? */
        api_machine_set(m, CG_OUTPUTS, r->items[i].name, r->items[i].value->data);
        status = api_machine_call(m, entry, false);
        api_machine_set(m, CG_OUTPUTS, r->items[i].name, NULL);
        if (!status)
            r->items[kept++] = r->items[i];
        else if (status != GRADC_RT_E_ARGUMENT)
            return api_machine_ok(m, entry, status);
    }
    r->count = kept;
    if (!kept)
        return report_missing(s, missing);
    api_note(s, "input '%s' is missing: outputs that need it are left out", missing);
    for (int i = 0; i < kept; i++)
        api_machine_set(m, CG_OUTPUTS, r->items[i].name, r->items[i].value->data);
    return api_machine_ok(m, entry, api_machine_call(m, entry, false));
}

/* Computes the requested results: all outputs whose inputs are given, and gradients. */
static bool call(api_session *s, api_machine *m, api_results *r)
{
    int entry = s->options.grad ? GRADC_RT_FORWARD_TRAIN : GRADC_RT_FORWARD;
    make_results(s, m, CG_OUTPUTS, r, false);
    if (!call_with_what_is_given(s, m, entry, r))
        return false;
    if (!s->options.grad)
        return true;
    if (!set_cotangents(s, m))
        return false;
    make_results(s, m, CG_INPUT_GRADS, r, true);
    gradc_rt_status status = api_machine_call(m, GRADC_RT_BACKWARD, s->options.cotangent.count > 0);
    const char *missing = missing_input(s, m, status);
    if (missing)
        return report_missing(s, missing);
    if (!api_machine_ok(m, GRADC_RT_BACKWARD, status))
        return false;
    take_gradients(s, m, r);
    return true;
}

/* ---- Results ---- */

typedef struct array_file {
    base_ctx *ctx;
    const ir_literal *value;
} array_file;

static bool write_array(FILE *f, void *user)
{
    const array_file *a = user;
    return npy_write(f, a->ctx, a->value);
}

static bool write_results(api_session *s, const api_results *r)
{
    const char *folder = s->options.output;
    if (!api_make_folder(s, folder) ||
        (s->options.grad && !api_make_folder(s, base_format(s->arena, "%s/grad", folder))))
        return false;
    base_output *out = base_array(s->arena, base_output, r->count + 1);
    for (int i = 0; i < r->count; i++) {
        array_file *a = base_new(s->arena, array_file);
        *a = (array_file){s->ctx, r->items[i].value};
        const char *name = api_file_name(s->arena, r->items[i].name);
        if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
            name = base_format(s->arena, "%%%s", name);
        out[i] = (base_output){
            base_format(s->arena, "%s/%s%s.npy", folder, r->items[i].grad ? "grad/" : "", name),
            write_array, a};
    }
    return base_write_atomically(s->ctx, out, r->count);
}

bool api_execute(api_session *s, FILE *out)
{
    api_machine *m = api_start(s, false);
    api_results r = {0};
    if (!m || !call(s, m, &r))
        return false;
    if (s->options.output && !write_results(s, &r))
        return false;
    if (s->options.expect)
        return api_judge(s, &r, out);
    for (int i = 0; i < r.count && !s->options.output; i++) {
        fprintf(out, "%s%s %s\n", r.items[i].grad ? "grad/" : "",
                api_file_name(s->arena, r.items[i].name),
                ir_type_text(s->arena, &r.items[i].value->type));
        api_print_tensor(out, r.items[i].value, 0);
        fputc('\n', out);
    }
    return true;
}

/* ---- bench ---- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One timing of n calls; of backward, the forward_train before each is not counted. */
static bool sample(api_machine *m, int e, int n, double *us)
{
    double total = 0;
    if (e == GRADC_RT_BACKWARD) {
        for (int i = 0; i < n; i++) {
            if (!api_machine_ok(m, GRADC_RT_FORWARD_TRAIN,
                                api_machine_call(m, GRADC_RT_FORWARD_TRAIN, false)))
                return false;
            double start = now_us();
            if (!api_machine_ok(m, e, api_machine_call(m, e, false)))
                return false;
            total += now_us() - start;
        }
        *us = total / n;
        return true;
    }
    double start = now_us();
    for (int i = 0; i < n; i++)
        if (!api_machine_ok(m, e, api_machine_call(m, e, false)))
            return false;
    *us = (now_us() - start) / n;
    return true;
}

bool api_time(api_session *s, int e, double seconds, api_timing *out)
{
    enum { MOST = 20000, BATCH_US = 20 };
    if (!s->object->has[e])
        return false;
    if (!s->machine) {
        api_results r = {0};
        s->machine = api_start(s, true);
        if (!s->machine)
            return false;
        make_results(s, s->machine, CG_OUTPUTS, &r, false);
        make_results(s, s->machine, CG_INPUT_GRADS, &r, true);
        /* a thousand steps on one batch would reach values that do not occur in training */
        api_machine_set_hyper(s->machine, "lr", 0);
    }
    double *us = base_array(s->arena, double, MOST), one;
    int n = 0, batch = 1;
    for (int warm = 0; warm < 3; warm++)
        if (!sample(s->machine, e, 1, &one))
            return false;
    if (s->object->profile.count)
        memset(api_machine_counters(s->machine), 0,
               (size_t)s->object->profile.count * sizeof(uint64_t));
    if (one < BATCH_US && e != GRADC_RT_BACKWARD)
        batch = (int)(BATCH_US / (one > 0.1 ? one : 0.1)) + 1;
    for (double end = now_us() + seconds * 1e6; n < MOST && (n < 5 || now_us() < end); n++)
        if (!sample(s->machine, e, batch, &us[n]))
            return false;
    qsort(us, (size_t)n, sizeof *us, by_value);
    *out = (api_timing){us[0], us[n / 2], us[n * 9 / 10], n * batch};
    return true;
}

static int by_time(const void *a, const void *b)
{
    const api_part *x = a, *y = b;
    return (x->us < y->us) - (x->us > y->us);
}

/* The counters count cycles and cover all of an entry: their sum is its time. */
void api_profile(api_session *s, int e, const api_timing *t, api_parts *out)
{
    const cg_profile *p = &s->object->profile;
    const uint64_t *counter = p->count ? api_machine_counters(s->machine) : NULL;
    double total = 0;
    for (int i = 0; i < p->count; i++)
        total += strcmp(p->items[i].entry, api_entry_name(e)) ? 0 : (double)counter[i];
    for (int i = 0; i < p->count && total > 0; i++) {
        const cg_place *x = &p->items[i];
        double share = (double)counter[i] / total, us = share * t->median_us;
        api_part part = {x->kind, x->what, x->origin, x->phase,
                         x->how,  us,      share,     us > 0 ? x->flops / us / 1e3 : 0};
        if (!strcmp(x->entry, api_entry_name(e)))
            BASE_PUSH(s->arena, out, part);
    }
    if (out->count)
        qsort(out->items, (size_t)out->count, sizeof *out->items, by_time);
}

const char *api_cpu(api_session *s)
{
    return s->options.cpu.count ? s->options.cpu.items[0] : cg_host_name(s->ctx, s->arena);
}
