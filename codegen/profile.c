/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Where an entry's time goes. With cg_request.profile the first worker reads the processor's cycle
 * counter around each kernel that it runs and around each wait for the others, and adds the
 * difference to a counter of that place: an array of the object, PREFIX_profile, in the order of
 * cg_object.profile. Such an object is for measuring: the array is a global, against the rule that
 * code touches the caller's memory only. */
#include "codegen/codegen.h"
#include "codegen/emit.h"

#include <string.h>

enum { WORDS = 5, SEEN = 200 };

/* Instructions that say something about a kernel, each name once. */
typedef struct words {
    base_arena *arena;
    const ir_kernel *k;
    const ir_inst **seen;
    int count, found;
    ir_op op[WORDS];
} words;

static void gather(words *w, const ir_value *v, int depth)
{
    const ir_inst *inst = v->def;
    if (!inst || (v->kernel && v->kernel != w->k) || depth > 40 || w->found == WORDS)
        return;
    for (int i = 0; i < w->count; i++)
        if (w->seen[i] == inst)
            return;
    if (w->count == SEEN)
        return;
    w->seen[w->count++] = inst;
    bool known = (ir_ops[inst->op].traits & IR_MOVES) && inst->op != IR_OP_gather &&
                 inst->op != IR_OP_pad && inst->op != IR_OP_concat;
    for (int i = 0; i < w->found; i++)
        known |= w->op[i] == inst->op;
    if (!known)
        w->op[w->found++] = inst->op;
    for (int i = 0; i < inst->noperands; i++)
        gather(w, inst->operand[i], depth + 1);
}

/* "dot_general f32[64,784] f32[784,512] -> f32[64,512], max add" */
static const char *describe(base_arena *arena, const ir_kernel *k)
{
    words w = {.arena = arena, .k = k, .seen = base_array(arena, const ir_inst *, SEEN)};
    const char *text = "";
    if (k->core) {
        text = ir_ops[k->core->op].name;
        for (int i = 0; i < k->core->noperands && i < 3; i++)
            text =
                base_format(arena, "%s %s", text, ir_type_text(arena, &k->core->operand[i]->type));
    }
    for (int i = 0; i < k->roots.count; i++) {
        text = base_format(arena, "%s%s%s", text,
                           i       ? " "
                           : *text ? " -> "
                                   : "",
                           ir_type_text(arena, &k->roots.items[i]->type));
        gather(&w, k->roots.items[i], 0);
    }
    for (int i = 0; i < w.found; i++)
        if (!k->core || w.op[i] != k->core->op)
            text = base_format(arena, "%s%s%s", text, i ? " " : ", ", ir_ops[w.op[i]].name);
    return text;
}

/* The node of the model that a kernel comes from, as far as it is known. */
static const char *origin(const ir_inst *inst)
{
    const base_loc *loc = inst->loc ? inst->loc : inst->primal ? inst->primal->loc : NULL;
    return loc && loc->name ? loc->name : "";
}

int cg_profile_place(cg_unit *u, const ir_kernel *k)
{
    const ir_inst *inst = !k ? NULL : k->core ? k->core : k->roots.items[0]->def;
    cg_place place = {.entry = u->entry,
                      .kind = "wait",
                      .what = "for the other workers",
                      .origin = "",
                      .phase = ""};
    for (int i = 0; !k && i < u->profile->count; i++) /* an entry's waits are one place */
        if (u->profile->items[i].entry == u->entry && !strcmp(u->profile->items[i].kind, "wait"))
            return i;
    if (k) {
        place.kind = ir_kernel_kind_names[k->kind];
        place.what = describe(u->arena, k);
        place.origin = origin(inst);
        place.phase = ir_phase_names[inst->phase];
        place.flops = k->kind == IR_KERNEL_CONTRACTION ? 2 * ir_cost_macs(k->core) : 0;
    }
    BASE_PUSH(u->arena, u->profile, place);
    BUG_UNLESS(u->profile->count <= CG_PLACES);
    return u->profile->count - 1;
}

LLVMValueRef cg_profile_begin(cg_unit *u)
{
    return cg_intrinsic(u, "llvm.readcyclecounter", NULL, 0, NULL, 0);
}

void cg_profile_end(cg_unit *u, LLVMValueRef begin, int number, LLVMValueRef first)
{
    if (!u->counters) {
        u->counters = LLVMAddGlobal(u->module, LLVMArrayType2(u->i64, CG_PLACES),
                                    base_format(u->arena, "%s_profile", u->prefix));
        LLVMSetInitializer(u->counters, LLVMConstNull(LLVMArrayType2(u->i64, CG_PLACES)));
    }
    LLVMValueRef used = LLVMBuildSub(u->b, cg_profile_begin(u), begin, ""),
                 at = cg_gep(u, u->counters, cg_i64(u, 8 * (int64_t)number));
    used = LLVMBuildSelect(u->b, first, used, cg_i64(u, 0), "");
    LLVMBuildAtomicRMW(u->b, LLVMAtomicRMWBinOpAdd, at, used, LLVMAtomicOrderingMonotonic, 0);
}
