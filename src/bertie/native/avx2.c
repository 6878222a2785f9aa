#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include "lanes_avx2.h"
#include "functions.h"
#include "tile.h"
#include "product.h"
#include "dropout.h"
#include "attention.h"
#include "attention_gradient.h"
#include "encoder.h"
#endif
