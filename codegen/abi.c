/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Gathers a model's interface and memory layout: the members of the header's structs, the ports of
 * each entry and when they are needed, and the arena. The arena holds, each 64-aligned: the
 * context, the state block, scratch. The state block holds parameters and statistics, optimizer
 * slots and counters, the gradients as one block without gaps, and the residuals of forward_train;
 * every specialisation has residuals of its own, at the same offset. States that no entry of the
 * object uses are left out, except parameters and statistics. */
#include "codegen/model.h"
#include "codegen/backend.h"
#include "include/gradc_rt.h"
#include "ir/tuning.h"

#include <string.h>

const char *const cg_entry_names[CG_ENTRIES] = {"forward", "forward_train", "backward", "update",
                                                "step"};
const int cg_member_order[CG_ENTRIES] = {GRADC_RT_FORWARD_TRAIN, GRADC_RT_STEP, GRADC_RT_FORWARD,
                                         GRADC_RT_BACKWARD, GRADC_RT_UPDATE};
_Static_assert(CG_ENTRIES == (int)GRADC_RT_KINDS && CG_INPUTS == (int)GRADC_RT_INPUT &&
                   CG_COTANGENTS == (int)GRADC_RT_COTANGENT && CG_HYPER == (int)GRADC_RT_HYPER &&
                   CG_OUTPUTS == (int)GRADC_RT_OUTPUT && CG_INPUT_GRADS == (int)GRADC_RT_INPUT_GRAD,
               "parts are the runtime's sources");
_Static_assert((int)IR_BOOL == GRADC_RT_BOOL && (int)IR_I64 == GRADC_RT_I64 &&
                   (int)IR_U64 == GRADC_RT_U64 && (int)IR_F64 == GRADC_RT_F64,
               "element types are the runtime's");

enum { ALIGN = 64, REST = 63 /* the bit of updates and of results from 63 on */ };

/* Appends `bytes` to *total, 64-aligned, and returns their offset; throws on overflow. */
static int64_t place(cg_model *m, int64_t *total, int64_t bytes)
{
    int64_t at = *total, end;
    if (!base_size_add(at, bytes, &end) || !base_size_align(end, ALIGN, total))
        base_throw(m->ctx, &m->place, "the model's memory is too large");
    return at;
}

/* ---- Members ---- */

static int part_of(const ir_port *p, bool result)
{
    if (result)
        return p->role == IR_GRADIENT ? CG_INPUT_GRADS : CG_OUTPUTS;
    return p->role == IR_GRADIENT ? CG_COTANGENTS : p->role == IR_HYPER ? CG_HYPER : CG_INPUTS;
}

static int find_member(const cg_part *part, const char *name)
{
    for (int i = 0; i < part->count; i++)
        if (!strcmp(part->items[i].name, name))
            return i;
    return -1;
}

static bool add_member(cg_model *m, int spec, const ir_port *p, bool result)
{
    cg_part *part = &m->o->part[part_of(p, result)];
    int i = find_member(part, p->name);
    if (i < 0) {
        if (part->count == (int)GRADC_RT_MAX_PORTS) {
            base_report(m->ctx, BASE_ERROR, &m->place,
                        "a model has at most %u inputs and outputs each", GRADC_RT_MAX_PORTS);
            return false;
        }
        cg_member member = {.name = p->name,
                            .type = base_array(m->arena, const ir_type *, m->r->nspecs),
                            .dim_names = p->dim_names};
        for (int k = 0; k < m->r->nranges && part == &m->o->part[CG_INPUTS]; k++)
            if (!strcmp(m->r->range[k].name, p->name))
                member.range = &m->r->range[k];
        i = part->count;
        BASE_PUSH(m->arena, part, member);
    }
    if (!part->items[i].type[spec])
        part->items[i].type[spec] = &p->value->type;
    return true;
}

static bool gather_members(cg_model *m)
{
    for (int e = 0; e < CG_ENTRIES; e++)
        for (int s = 0; s < m->r->nspecs; s++) {
            const ir_func *f = m->entry[s * CG_ENTRIES + cg_member_order[e]].f;
            for (int i = 0; f && i < f->params.count + f->results.count; i++) {
                bool result = i >= f->params.count;
                const ir_port *p =
                    result ? &f->results.items[i - f->params.count] : &f->params.items[i];
                if (p->bind == IR_INPUT && !add_member(m, s, p, result))
                    return false;
            }
        }
    return true;
}

static void mark_loss(cg_model *m)
{
    for (int e = 0; e < CG_ENTRIES; e++) {
        const ir_func *f = m->entry[e].f;
        if (!f || f->loss < 0 || f->loss >= f->results.count || !f->results.items[f->loss].name)
            continue;
        for (int part = CG_COTANGENTS; part <= CG_OUTPUTS; part += CG_OUTPUTS - CG_COTANGENTS) {
            int i = find_member(&m->o->part[part], f->results.items[f->loss].name);
            if (i >= 0)
                m->o->part[part].items[i].loss = true;
        }
    }
}

static bool name_members(cg_model *m)
{
    const cg_request *r = m->r;
    bool *renamed = base_array(m->arena, bool, r->nrenames + 1), fine = true;
    for (int i = 0; i < r->nrenames; i++)
        if (!cg_is_member_name(m->arena, r->rename[i].to)) {
            base_report(m->ctx, BASE_ERROR, &m->place, "'%s' is not a valid name in C",
                        r->rename[i].to);
            fine = false;
        }
    m->o->ndims = r->ndims;
    m->o->dim_field = base_array(m->arena, const char *, r->ndims + 1);
    for (int part = 0; part < CG_PARTS; part++) {
        cg_names n = {
            .arena = m->arena, .rename = r->rename, .nrenames = r->nrenames, .renamed = renamed};
        const char *digit = part == CG_INPUTS || part == CG_INPUT_GRADS ? "in_" : "out_";
        for (int i = 0; i < m->o->part[part].count; i++)
            m->o->part[part].items[i].field = cg_field(&n, m->o->part[part].items[i].name, digit);
        for (int d = 0; part == CG_INPUTS && d < r->ndims; d++)
            m->o->dim_field[d] = cg_field(&n, r->dim_name[d], digit);
    }
    for (int i = 0; i < r->nrenames; i++)
        if (!renamed[i]) {
            base_report(m->ctx, BASE_ERROR, &m->place, "no input or output is named '%s'",
                        r->rename[i].from);
            fine = false;
        }
    cg_part *hyper = &m->o->part[CG_HYPER];
    for (int i = 0; i < hyper->count; i++)
        for (int k = 0; k < r->nhyper; k++)
            if (!strcmp(hyper->items[i].name, r->hyper[k].name))
                hyper->items[i].value = r->hyper[k].value;
    return fine;
}

/* ---- States ---- */

/* By index in the module: whether an entry of the specialisation reads or writes the state. */
static bool *used_states(cg_model *m, int spec)
{
    const ir_module *module = m->r->spec[spec].module;
    bool *used = base_array(m->arena, bool, module->states.count + 1);
    for (int e = 0; e < CG_ENTRIES; e++) {
        const ir_func *f = m->entry[spec * CG_ENTRIES + e].f;
        for (int i = 0; f && i < f->params.count; i++)
            if (f->params.items[i].bind == IR_STATE)
                used[f->params.items[i].state->index] = true;
        for (int i = 0; f && i < f->results.count; i++)
            if (f->results.items[i].bind == IR_STATE)
                used[f->results.items[i].state->index] = true;
    }
    for (int i = 0; i < module->states.count; i++)
        used[i] |= module->states.items[i]->kind <= IR_STAT;
    return used;
}

static void place_grads(cg_model *m, const bool *used)
{
    const ir_module *module = m->r->spec[0].module;
    m->grad_element = 8;
    for (int i = 0; i < module->states.count; i++)
        if (used[i] && module->states.items[i]->kind == IR_GRAD &&
            module->states.items[i]->type.dtype != IR_F64)
            m->grad_element = 4;
    int64_t total = 0;
    m->grad_at = m->state_bytes;
    for (int i = 0; i < module->states.count; i++) {
        ir_state *s = module->states.items[i];
        if (!used[i] || s->kind != IR_GRAD)
            continue;
        int64_t width = ir_dtypes[s->type.dtype].bytes > m->grad_element
                            ? ir_dtypes[s->type.dtype].bytes
                            : m->grad_element,
                at;
        if (!base_size_align(total, width, &at) || !base_size_add(at, ir_bytes(&s->type), &total) ||
            !base_size_add(m->grad_at, at, &s->at))
            base_throw(m->ctx, &m->place, "the model's memory is too large");
    }
    if (!base_size_align(total, m->grad_element, &total))
        base_throw(m->ctx, &m->place, "the model's memory is too large");
    m->grad_count = total / m->grad_element;
    m->o->sizes.grads = total;
    place(m, &m->state_bytes, total);
}

static void place_saved(cg_model *m)
{
    int64_t most = m->state_bytes;
    for (int s = 0; s < m->r->nspecs; s++) {
        const ir_module *module = m->r->spec[s].module;
        const bool *used = used_states(m, s);
        int64_t end = m->state_bytes;
        for (int i = 0; i < module->states.count; i++)
            if (used[i] && module->states.items[i]->kind == IR_SAVED)
                module->states.items[i]->at =
                    place(m, &end, ir_bytes(&module->states.items[i]->type));
        most = end > most ? end : most;
    }
    m->o->sizes.saved = most - m->state_bytes;
    m->state_bytes = most;
}

/* States of the other modules have the offset of the first module's state of the same name. */
static void share_places(cg_model *m)
{
    for (int s = 1; s < m->r->nspecs; s++) {
        const ir_module *module = m->r->spec[s].module;
        const bool *used = used_states(m, s);
        for (int i = 0; i < module->states.count; i++) {
            ir_state *x = module->states.items[i];
            if (x->kind == IR_SAVED || !used[i])
                continue;
            const ir_state *first = ir_state_by_name(m->r->spec[0].module, x->name);
            if (!first || first->kind != x->kind || !ir_type_eq(&first->type, &x->type))
                BUG("the specialisations differ in the state %s", x->name);
            x->at = first->at;
        }
    }
}

/* Finds each parameter's gradient, and the seed. */
static void find_positions(cg_model *m)
{
    /* By the parameter's index: the gradient's offset + 1, in elements. */
    int64_t *grad = base_array(m->arena, int64_t, m->r->spec[0].module->states.count + 1);
    m->grad_of = base_array(m->arena, int64_t, m->states.count + 1);
    m->seed_state = -1;
    for (int i = 0; i < m->states.count; i++) {
        const ir_state *s = m->states.items[i];
        if (s->kind == IR_GRAD && s->of)
            grad[s->of->index] = (s->at - m->grad_at) / m->grad_element + 1;
        if (s->kind == IR_COUNTER && !strcmp(s->name, "seed"))
            m->seed_state = i;
    }
    for (int i = 0; i < m->states.count; i++)
        m->grad_of[i] = i < m->nparams ? grad[m->states.items[i]->index] - 1 : -1;
}

static void place_states(cg_model *m)
{
    const ir_module *module = m->r->spec[0].module;
    const bool *used = used_states(m, 0);
    int64_t *sizes[] = {&m->o->sizes.params, &m->o->sizes.stats, &m->o->sizes.optimizer,
                        &m->o->sizes.counters};
    for (int params = 1; params >= 0; params--)
        for (int i = 0; i < module->states.count; i++) {
            ir_state *s = module->states.items[i];
            if (s->kind > IR_COUNTER || (s->kind <= IR_STAT) != params || !used[i])
                continue;
            int64_t before = m->state_bytes;
            s->at = place(m, &m->state_bytes, ir_bytes(&s->type));
            *sizes[s->kind] += m->state_bytes - before;
            BASE_PUSH(m->arena, &m->states, s);
            m->nparams += params;
        }
    place_grads(m, used);
    place_saved(m);
    share_places(m);
    for (int i = 0; i < module->states.count; i++)
        if (used[i] && module->states.items[i]->kind >= IR_GRAD)
            BASE_PUSH(m->arena, &m->states, module->states.items[i]);
    find_positions(m);
}

/* ---- Entries ---- */

static uint64_t result_bit(int output)
{
    return (uint64_t)1 << (output < REST ? output : REST);
}

/* The results whose kernels read an input. */
static uint64_t readers_of(const ir_func *f, const ir_value *input)
{
    uint64_t bits = 0;
    const ir_plan *s = f->plan;
    for (int i = 0; i < s->kernels.count; i++)
        for (int r = 0; r < s->kernels.items[i]->reads.count; r++)
            if (s->kernels.items[i]->reads.items[r] == input)
                bits |= s->kernels.items[i]->wanted;
    return bits;
}

static bool lies_at_result(const ir_value *v, int result)
{
    return v->place == IR_AT_RESULT && v->offset == result;
}

/* Does a kernel access the storage of a result that runs even if the result is not wanted? */
static bool is_shared(const ir_func *f, int result, uint64_t own)
{
    const ir_plan *s = f->plan;
    for (int i = 0; i < s->kernels.count; i++) {
        const ir_kernel *k = s->kernels.items[i];
        if (k->wanted == own && own != (uint64_t)1 << REST)
            continue;
        for (int r = 0; r < k->outputs.count; r++)
            if (lies_at_result(k->outputs.items[r], result) ||
                k->outputs.items[r] == f->results.items[result].value)
                return true;
        for (int r = 0; r < k->reads.count; r++)
            if (lies_at_result(k->reads.items[r], result) ||
                k->reads.items[r] == f->results.items[result].value)
                return true;
    }
    return false;
}

static void fill_port(cg_model *m, cg_port *to, const ir_port *p, bool result)
{
    to->name = p->name;
    to->part = part_of(p, result);
    to->member = find_member(&m->o->part[to->part], p->name);
    to->type = &p->value->type;
    to->fallback = -1;
    to->one = to->part == CG_COTANGENTS && m->o->part[to->part].items[to->member].loss;
}

static void lay_out_entry(cg_model *m, cg_entry *e)
{
    const ir_func *f = e->f;
    if (!f->plan)
        BUG("@%s is not planned", f->name);
    int64_t scratch = f->plan->scratch;
    e->port = base_array(m->arena, cg_port, f->params.count + f->results.count + 1);
    for (int i = 0; i < f->params.count; i++) {
        if (f->params.items[i].bind != IR_INPUT)
            continue;
        cg_port *p = &e->port[e->nports++];
        fill_port(m, p, &f->params.items[i], false);
        if (p->part == CG_COTANGENTS)
            p->fallback = place(m, &scratch, ir_bytes(p->type));
        else
            p->needed_by = readers_of(f, f->params.items[i].value);
    }
    for (int i = 0, output = 0; i < f->results.count; i++) {
        if (f->results.items[i].bind != IR_INPUT) {
            e->always |= result_bit(REST);
            continue;
        }
        cg_port *p = &e->port[e->nports++];
        fill_port(m, p, &f->results.items[i], true);
        p->needed_by = result_bit(output++);
        if (is_shared(f, i, p->needed_by))
            p->fallback = place(m, &scratch, ir_bytes(p->type));
    }
    for (int i = 0; i < f->plan->kernels.count; i++)
        e->always |= f->plan->kernels.items[i]->wanted & result_bit(REST);
    double least = IR_TUNING(PARALLEL_CALL) + (double)IR_TUNING(PARALLEL_PHASE) * f->plan->phases;
    e->parallel = m->target->system->backend->hosted && ir_cost_work(&f->plan->cost) > least;
    m->scratch_bytes = scratch > m->scratch_bytes ? scratch : m->scratch_bytes;
}

static bool gather_entries(cg_model *m)
{
    const cg_request *r = m->r;
    m->entry = base_array(m->arena, cg_entry, r->nspecs * CG_ENTRIES);
    for (int s = 0; s < r->nspecs; s++)
        for (int e = 0; e < CG_ENTRIES; e++) {
            const ir_func *f = !r->entries || r->entries >> e & 1
                                   ? ir_entry_by_name(r->spec[s].module, cg_entry_names[e])
                                   : NULL;
            m->entry[s * CG_ENTRIES + e].f = f;
            m->o->has[e] |= f != NULL;
            if (s && !f != !m->entry[e].f)
                BUG("the specialisations differ in the entry %s", cg_entry_names[e]);
            if (!f && r->entries >> e & 1) {
                base_report(m->ctx, BASE_ERROR, &m->place, "the model has no entry '%s'",
                            cg_entry_names[e]);
                return false;
            }
            if (f &&
                f->params.count + f->results.count >
                    (int)(GRADC_RT_MAX_PORTS + (unsigned)r->spec[s].module->states.count * 2)) {
                base_report(m->ctx, BASE_ERROR, &m->place,
                            "an entry has at most %u inputs and outputs", GRADC_RT_MAX_PORTS);
                return false;
            }
        }
    return true;
}

/* ---- The model's id ---- */

static void mix(uint64_t *h, uint64_t v)
{
    *h = (*h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    *h ^= *h >> 29;
}

static void mix_text(uint64_t *h, const char *s)
{
    for (; *s; s++)
        mix(h, (unsigned char)*s);
    mix(h, 0x100);
}

static void mix_type(uint64_t *h, const ir_type *t)
{
    mix(h, (uint64_t)t->dtype);
    mix(h, (uint64_t)t->rank);
    for (int d = 0; d < t->rank; d++)
        mix(h, (uint64_t)t->dim[d]);
}

static uint64_t hash(const cg_model *m)
{
    uint64_t h = GRADC_RT_ABI;
    for (int i = 0; i < m->states.count; i++) {
        if (m->states.items[i]->kind >= IR_GRAD)
            continue;
        mix_text(&h, m->states.items[i]->name);
        mix_type(&h, &m->states.items[i]->type);
        mix(&h, (uint64_t)m->states.items[i]->kind);
    }
    for (int i = 0; i < m->r->nspecs * CG_ENTRIES; i++)
        for (int p = 0; p < m->entry[i].nports; p++) {
            mix_text(&h, m->entry[i].port[p].name);
            mix(&h, (uint64_t)(i * CG_PARTS + m->entry[i].port[p].part));
            mix_type(&h, m->entry[i].port[p].type);
        }
    for (int s = 0; s < m->r->nspecs; s++)
        for (int d = 0; d < m->r->ndims; d++)
            mix(&h, (uint64_t)m->r->spec[s].dim[d]);
    return h;
}

/* The largest number of ports of an entry. */
static int most_ports(const cg_model *m)
{
    int most = 0;
    for (int i = 0; i < m->r->nspecs * CG_ENTRIES; i++)
        most = m->entry[i].nports > most ? m->entry[i].nports : most;
    return most;
}

static bool lay_out_arena(cg_model *m)
{
    cg_sizes *sizes = &m->o->sizes;
    sizes->context = GRADC_RT_CTX_BYTES(
        (unsigned)m->target->system->word_bytes, (unsigned)most_ports(m),
        (unsigned)m->o->part[CG_INPUTS].count, m->target->system->backend->hosted);
    sizes->scratch = m->scratch_bytes;
    int64_t total = sizes->context;
    place(m, &total, m->state_bytes);
    place(m, &total, m->scratch_bytes);
    sizes->arena = total;
    uint64_t limit =
        m->target->system->word_bytes == 4 ? (uint64_t)INT32_MAX : BASE_MAX_ARENA_BYTES;
    if ((uint64_t)total <= limit)
        return true;
    base_report(m->ctx, BASE_ERROR, &m->place,
                "the model needs %lld bytes of memory; the limit is %lld", (long long)total,
                (long long)limit);
    return false;
}

cg_model *cg_model_of(base_ctx *ctx, base_arena *arena, const cg_request *r,
                      const cg_target *target)
{
    cg_model *m = base_new(arena, cg_model);
    m->ctx = ctx;
    m->arena = arena;
    m->r = r;
    m->target = target;
    m->place = (base_loc){.file = r->file, .node = -1};
    m->o = base_new(arena, cg_object);
    m->o->hosted = target->system->backend->hosted;
    m->o->prefix = cg_clean_prefix(arena, r->prefix ? r->prefix : r->spec[0].module->name);
    if (!gather_entries(m) || !gather_members(m))
        return NULL;
    mark_loss(m);
    if (!name_members(m))
        return NULL;
    place_states(m);
    for (int i = 0; i < r->nspecs * CG_ENTRIES; i++) {
        if (!m->entry[i].f)
            continue;
        lay_out_entry(m, &m->entry[i]);
        if (m->entry[i].nports > (int)GRADC_RT_MAX_PORTS) {
            base_report(ctx, BASE_ERROR, &m->place, "an entry has at most %u inputs and outputs",
                        GRADC_RT_MAX_PORTS);
            return NULL;
        }
    }
    if (!lay_out_arena(m))
        return NULL;
    m->o->id = hash(m);
    return m;
}
