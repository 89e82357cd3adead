/* SPDX-License-Identifier: MIT
 * Copyright (c) The gradc authors
 *
 * --list-ops. */
#include "driver/driver.h"

#include <stdio.h>

void driver_list_ops(api_session *s)
{
    api_op_row row;
    printf("Primitives\n  %-14s %-9s %-28s %s\n", "name", "gradient", "types of the first operand",
           "meaning");
    for (int i = 0; api_primitive(s, i, &row); i++)
        printf("  %-14s %-9s %-28s %s\n", row.name, row.gradient, row.types, row.detail);
    printf("\nONNX operators\n  %-32s %-9s %-18s %s\n", "name", "gradient", "versions",
           "types of the first input");
    for (int i = 0; api_onnx_operator(s, i, &row); i++)
        printf("  %-32s %-9s %-18s %s\n", row.name, row.gradient, row.detail, row.types);
}
