/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Small helpers over LLVM's C API, and the object's constant data. */
#include "codegen/cg.h"

#include <string.h>

LLVMTypeRef cg_dtype(const cg_unit *u, ir_dtype t)
{
    switch (ir_dtypes[t].class) {
    case IR_CLASS_F: return t == IR_F32 ? u->f32 : t == IR_F64 ? u->f64 : u->i16;
    default:
        switch (ir_dtypes[t].bytes) {
        case 1: return u->i8;
        case 2: return u->i16;
        case 4: return u->i32;
        default: return u->i64;
        }
    }
}

bool cg_has_instructions(const cg_unit *u, LLVMTypeRef f)
{
    return f == u->f64 ? u->target->system->has_f64 : u->target->system->has_f32;
}

LLVMTypeRef cg_vector(LLVMTypeRef element, int lanes)
{
    return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

int cg_lanes_of(LLVMValueRef x)
{
    LLVMTypeRef t = LLVMTypeOf(x);
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}

LLVMValueRef cg_i64(const cg_unit *u, int64_t v)
{
    return LLVMConstInt(u->i64, (unsigned long long)v, 1);
}

LLVMValueRef cg_word(const cg_unit *u, int64_t v)
{
    return LLVMConstInt(u->word, (unsigned long long)v, 1);
}

LLVMValueRef cg_pointer_at(cg_unit *u, LLVMValueRef array, int64_t number)
{
    return cg_gep(u, array, cg_i64(u, number * u->target->system->word_bytes));
}

LLVMValueRef cg_splat(cg_unit *u, LLVMValueRef scalar, int lanes)
{
    if (lanes == 1)
        return scalar;
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)lanes);
    LLVMValueRef one =
        LLVMBuildInsertElement(u->b, LLVMGetPoison(type), scalar, LLVMConstInt(u->i32, 0, 0), "");
    return LLVMBuildShuffleVector(u->b, one, LLVMGetPoison(type),
                                  LLVMConstNull(LLVMVectorType(u->i32, (unsigned)lanes)), "");
}

LLVMValueRef cg_intrinsic(cg_unit *u, const char *name, LLVMTypeRef *overload, int noverload,
                          LLVMValueRef *args, int nargs)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id)
        BUG("LLVM does not know %s", name);
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(u->module, id, overload, (size_t)noverload);
    return LLVMBuildCall2(u->b, LLVMGlobalGetValueType(f), f, args, (unsigned)nargs, "");
}

LLVMValueRef cg_gep(cg_unit *u, LLVMValueRef base, LLVMValueRef byte_offset)
{
    return LLVMBuildInBoundsGEP2(u->b, u->i8, base, &byte_offset, 1, "");
}

struct cg_data {
    struct cg_data *next;
    size_t size;
    const void *bytes;
    LLVMValueRef global;
};

LLVMValueRef cg_data_of(cg_unit *u, const void *bytes, size_t size)
{
    for (struct cg_data *d = u->data; d; d = d->next)
        if (d->size == size && !memcmp(d->bytes, bytes, size))
            return d->global;
    LLVMValueRef content = LLVMConstStringInContext2(u->ll, bytes, size, 1);
    LLVMValueRef global = LLVMAddGlobal(u->module, LLVMTypeOf(content), "data");
    LLVMSetInitializer(global, content);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetAlignment(global, 64);
    struct cg_data *d = base_new(u->arena, struct cg_data);
    *d = (struct cg_data){u->data, size, base_memdup(u->arena, bytes, size), global};
    u->data = d;
    return global;
}
