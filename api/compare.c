/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * --expect: compares results with a file. A result is judged by its distance to the value that was
 * computed in double (out64/, grad64/), against the distance of the file's own f32 value: networks
 * with batch normalisation amplify rounding errors a thousandfold in any implementation. Distances
 * are L2 norms, relative to the norm of the value in double. */
#include "api/execute.h"

#include <math.h>
#include <string.h>

#define LEAST 1e-5     /* error that any f32 result may have */
#define LEAST_F64 1e-7
#define LEAST_F16 0x1p-11 /* one rounding */
#define LEAST_BF16 0x1p-8
/* Limit for the file's own distance: beyond it the file has two different computations, as with
 * dropout left on. Deep nets reach 4e-2 where rounding flips ReLUs. */
#define MOST 1e-1
#define ZERO 1e-10     /* a tensor with all elements below this counts as zero */

/* The distance of two numbers; 0 for equal infinities and for two NaNs. */
static double apart(double a, double b)
{
    return a == b || (isnan(a) && isnan(b)) ? 0 : fabs(a - b);
}

/* The L2 norm of a - b; b NULL: of the finite elements of a. */
static double length(const ir_literal *a, const ir_literal *b)
{
    double sum = 0, scale = 0;
    int64_t n = ir_count(&a->type);
    for (int64_t i = 0; i < n; i++) {
        double d = ir_literal_get(a, i);
        d = b ? apart(d, ir_literal_get(b, i)) : isfinite(d) ? fabs(d) : 0;
        if (!isfinite(d))
            return INFINITY;
        if (d > scale) { /* scaled, so that no square overflows */
            sum = 1 + sum * (scale / d) * (scale / d);
            scale = d;
        } else if (scale > 0) {
            sum += (d / scale) * (d / scale);
        }
    }
    return scale * sqrt(sum);
}

static double largest(const ir_literal *a)
{
    double most = 0;
    for (int64_t i = 0, n = ir_count(&a->type); i < n; i++)
        most = isnan(ir_literal_get(a, i)) ? INFINITY : fmax(most, fabs(ir_literal_get(a, i)));
    return most;
}

static double largest_difference(const ir_literal *a, const ir_literal *b)
{
    double most = 0;
    for (int64_t i = 0, n = ir_count(&a->type); i < n; i++) {
        double d = apart(ir_literal_get(a, i), ir_literal_get(b, i));
        most = isnan(d) ? INFINITY : fmax(most, d);
    }
    return most;
}

static bool same_integers(const ir_literal *a, const ir_literal *b)
{
    for (int64_t i = 0, n = ir_count(&a->type); i < n; i++)
        if (ir_literal_get_int(a, i) != ir_literal_get_int(b, i))
            return false;
    return true;
}

typedef struct verdict {
    double distance, theirs, limit, most; /* most: limit for theirs, where `limit` depends on it */
    const char *against;
} verdict;

static verdict judge(api_session *s, const ir_literal *x, const ir_literal *narrow,
                     const ir_literal *wide)
{
    const ir_literal *due = wide ? wide : narrow;
    ir_dtype t = x->type.dtype;
    double least = t == IR_F16              ? LEAST_F16
                   : t == IR_BF16           ? LEAST_BF16
                   : s->options.f64 && wide ? LEAST_F64
                                            : LEAST;
    verdict v = {.limit = least, .most = INFINITY, .against = wide ? "f64" : "file"};
    if (!ir_is_float(x->type.dtype)) {
        v.distance = same_integers(x, due) ? 0 : INFINITY;
        v.limit = 0;
        return v;
    }
    if (largest(due) < ZERO) {
        v.against = "zero";
        v.limit = LEAST;
        v.distance = largest_difference(x, due);
        v.theirs = wide && narrow ? largest_difference(narrow, wide) : 0;
        return v;
    }
    double scale = length(due, NULL);
    scale = scale > 0 ? scale : 1;
    v.distance = length(x, due) / scale;
    if (wide && narrow) {
        v.theirs = length(narrow, wide) / scale;
        if (!s->options.f64) {
            v.limit = fmax(least, 10 * v.theirs);
            v.most = MOST;
        }
    }
    return v;
}

/* Whether the file's value (NULL: none) has the result's shape and type; a value computed in double
 * must be f64. */
static bool fits(api_session *s, const ir_literal *x, const ir_literal *due, const char *kind,
                 const char *name)
{
    ir_dtype own = x->type.dtype, is = due ? due->type.dtype : own;
    bool in_double = strstr(kind, "64") && ir_is_float(own);
    if (!due || (ir_shape_eq(&x->type, &due->type) &&
                 (in_double ? is == IR_F64
                            : is == own || (s->options.f64 && own == IR_F64 && is == IR_F32))))
        return true;
    ir_type type = x->type;
    type.dtype = in_double ? IR_F64 : own;
    api_error(s, "%s has %s/%s as %s, expected %s", s->options.expect, kind, name,
              ir_type_text(s->arena, &due->type), ir_type_text(s->arena, &type));
    return false;
}

bool api_judge(api_session *s, const api_results *r, FILE *out)
{
    ir_tensors file = {0};
    int compared = 0, wrong = 0;
    if (!npz_read_file(s->arena, s->options.expect, &file))
        return false;
    for (int i = 0; i < r->count; i++) {
        const char *kind = r->items[i].grad ? "grad" : "out", *name = r->items[i].name;
        const ir_literal *x = r->items[i].value,
                         *narrow =
                             ir_tensor_by_name(&file, base_format(s->arena, "%s/%s", kind, name)),
                         *wide =
                             ir_tensor_by_name(&file, base_format(s->arena, "%s64/%s", kind, name));
        const ir_literal *due = wide ? wide : narrow;
        if (!due)
            continue;
        compared++;
        if (!fits(s, x, narrow, kind, name) ||
            !fits(s, x, wide, base_format(s->arena, "%s64", kind), name)) {
            wrong++;
            continue;
        }
        verdict v = judge(s, x, narrow, wide);
        bool fine = v.distance <= v.limit;
        if (v.theirs > v.most) {
            api_error(s,
                      "%s is inconsistent: %s/%s is %.3g from %s64/%s, expected at most %.3g (is "
                      "the model random, for example by dropout?)",
                      s->options.expect, kind, name, v.theirs, kind, name, v.most);
            wrong++;
            continue;
        }
        fprintf(out, "%-4s %s/%s: distance %.3g to %s, limit %.3g%s\n", fine ? "ok" : "FAR", kind,
                api_file_name(s->arena, name), v.distance, v.against, v.limit,
                v.theirs > 0 ? base_format(s->arena, ", the file's own %.3g", v.theirs) : "");
        wrong += !fine;
    }
    for (int i = 0; i < file.count; i++) { /* what the file has and the model does not */
        const char *n = file.items[i].name;
        bool grad = !strncmp(n, "grad/", 5),
             known = !(grad && s->options.grad) && strncmp(n, "out/", 4);
        for (int k = 0; k < r->count && !known; k++)
            known = r->items[k].grad == grad && !strcmp(r->items[k].name, n + (grad ? 5 : 4));
        if (!known) {
            api_error(s, "%s: the model has no %s", s->options.expect, n);
            wrong++;
        }
    }
    if (!compared)
        api_error(s, "%s has nothing to compare with", s->options.expect);
    else if (wrong)
        api_error(s, "%d of %d results are too far from %s", wrong, compared, s->options.expect);
    return compared && !wrong;
}
