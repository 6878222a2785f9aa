#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include "lanes_avx512.h"
#include "functions.h"
#include "tile.h"
#include "product.h"
#include "dropout.h"
#include "attention.h"
#include "attention_gradient.h"
#pragma GCC push_options
#include "int8.h"
#pragma GCC pop_options
#define HAS_INT8
#include "encoder.h"
#endif
