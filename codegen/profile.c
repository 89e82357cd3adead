/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Profiles of entries. With cg_request.profile the first worker reads the processor's cycle counter
 * around each kernel that it runs and around each wait for the others, and adds the difference to
 * that place's counter: PREFIX_profile, an array in the object, in the order of cg_object.profile.
 * Such an object is for measuring only: the array is a global, against the rule that code writes
 * only the caller's memory. */
#include "codegen/codegen.h"
#include "codegen/emit.h"
#include "schedule/schedule.h"

#include <string.h>

/* The node of the model that a kernel comes from, as far as it is known. */
static const char *origin(const ir_inst *inst)
{
    const base_loc *loc = inst->loc ? inst->loc : inst->primal ? inst->primal->loc : NULL;
    return loc && loc->name ? loc->name : "";
}

int cg_profile_place(cg_unit *u, const ir_kernel *k)
{
    const ir_inst *inst = !k ? NULL : k->anchor ? k->anchor : k->outputs.items[0]->def;
    cg_place place = {.entry = u->entry,
                      .kind = "wait",
                      .what = "for the other workers",
                      .origin = "",
                      .phase = "",
                      .how = ""};
    for (int i = 0; !k && i < u->profile->count; i++) /* an entry's waits are one place */
        if (u->profile->items[i].entry == u->entry && !strcmp(u->profile->items[i].kind, "wait"))
            return i;
    if (k) {
        place.kind = ir_kernel_kind_names[k->kind];
        place.what = sched_describe(u->arena, k);
        place.origin = origin(inst);
        place.phase = ir_phase_names[inst->phase];
        place.how = k->schedule ? sched_text(u->arena, k->schedule) : "";
        place.flops = k->kind == IR_KERNEL_CONTRACTION ? 2 * ir_cost_macs(k->anchor) : 0;
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
