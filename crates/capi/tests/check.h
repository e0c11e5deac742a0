// CHECK(condition): ends a test program with the place and the condition that does not hold.

#pragma once

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                                       \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                                      \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)
