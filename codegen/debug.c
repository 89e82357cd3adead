/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * Debug information (-g): which node of the model each machine instruction comes from. The model's
 * file is the source; the line is that of a text, or of an ONNX file the node's index counted from
 * 1. A kernel is a function named after its node. A kernel that serves several nodes, because their
 * code is the same, is named after the first.
 *
 * In a function with debug information LLVM requires a location on every call, so one is set from
 * its first instruction on, and none outside of such functions. */
#include "codegen/names.h"
#include "codegen/cg.h"

#include <llvm-c/DebugInfo.h>
#include <string.h>

struct cg_debug {
    LLVMDIBuilderRef di;
    LLVMMetadataRef file, type; /* the first file seen, of the unit; of all functions */
    const char *name;
};

static void dispose(void *di)
{
    LLVMDisposeDIBuilder(di);
}

static LLVMMetadataRef file_of(struct cg_debug *d, const char *name)
{
    /* GNU as does not accept a directory with DWARF 4 */
    return LLVMDIBuilderCreateFile(d->di, name, strlen(name), "", 0);
}

static unsigned line_of(const base_loc *loc)
{
    return !loc             ? 0
           : loc->line > 0  ? (unsigned)loc->line
           : loc->node >= 0 ? (unsigned)loc->node + 1
                            : 0;
}

static void open_unit(cg_unit *u, const char *name)
{
    struct cg_debug *d = base_new(u->arena, struct cg_debug);
    static const char producer[] = "gradc";
    u->info = d;
    d->di = LLVMCreateDIBuilder(u->module);
    base_defer(u->ctx, dispose, d->di);
    d->name = name;
    d->file = file_of(d, name);
    LLVMDIBuilderCreateCompileUnit(d->di, LLVMDWARFSourceLanguageC99, d->file, producer,
                                   sizeof producer - 1, 1, "", 0, 0, "", 0, LLVMDWARFEmissionFull,
                                   0, 0, 0, "", 0, "", 0);
    d->type = LLVMDIBuilderCreateSubroutineType(d->di, d->file, NULL, 0, LLVMDIFlagZero);
    LLVMValueRef version = LLVMConstInt(u->i32, LLVMDebugMetadataVersion(), 0),
                 dwarf = LLVMConstInt(u->i32, 4, 0);
    LLVMAddModuleFlag(u->module, LLVMModuleFlagBehaviorWarning, "Debug Info Version", 18,
                      LLVMValueAsMetadata(version));
    LLVMAddModuleFlag(u->module, LLVMModuleFlagBehaviorWarning, "Dwarf Version", 13,
                      LLVMValueAsMetadata(dwarf));
}

static const char *file_name(const cg_unit *u, const base_loc *loc)
{
    const char *name = loc && loc->file ? loc->file : "model", *slash = strrchr(name, '/');
    return cg_quoted(u->arena, slash ? slash + 1 : name);
}

void cg_debug_function(cg_unit *u, LLVMValueRef function, const char *what, const base_loc *loc)
{
    if (!u->debug)
        return;
    if (!u->info)
        open_unit(u, file_name(u, loc));
    struct cg_debug *d = u->info;
    const char *file = file_name(u, loc),
               *name = loc && loc->name && *loc->name
                           ? base_format(u->arena, "%s %s", what, loc->name)
                           : what;
    name = cg_quoted(u->arena, name);
    size_t n;
    const char *symbol = LLVMGetValueName2(function, &n);
    LLVMMetadataRef where = strcmp(file, d->name) ? file_of(d, file) : d->file;
    LLVMMetadataRef scope =
        LLVMDIBuilderCreateFunction(d->di, where, name, strlen(name), symbol, n, where,
                                    line_of(loc), d->type, 1, 1, line_of(loc), LLVMDIFlagZero, 1);
    LLVMSetSubprogram(function, scope);
    LLVMSetCurrentDebugLocation2(
        u->b, LLVMDIBuilderCreateDebugLocation(u->ll, line_of(loc), 0, scope, NULL));
}

LLVMMetadataRef cg_debug_enter(cg_unit *u, const base_loc *loc)
{
    LLVMMetadataRef before = u->debug ? LLVMGetCurrentDebugLocation2(u->b) : NULL;
    if (before && loc) {
        LLVMMetadataRef scope =
            LLVMGetSubprogram(LLVMGetBasicBlockParent(LLVMGetInsertBlock(u->b)));
        if (scope)
            LLVMSetCurrentDebugLocation2(
                u->b, LLVMDIBuilderCreateDebugLocation(u->ll, line_of(loc),
                                                       loc->line > 0 ? (unsigned)loc->column : 0,
                                                       scope, NULL));
    }
    return before;
}

void cg_debug_leave(cg_unit *u, LLVMMetadataRef before)
{
    if (u->debug)
        LLVMSetCurrentDebugLocation2(u->b, before);
}

void cg_debug_close(cg_unit *u)
{
    if (u->info)
        LLVMDIBuilderFinalize(u->info->di);
}
