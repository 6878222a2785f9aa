/* Text → ids, as BERT's tokenizer makes them: UTF-8 → characters' normal forms → words → the longest pieces. */
#if defined(__LP64__) /* as the other kernels: `long` has 64 bits */
#include "system.h"

#include <stdint.h>

#include "wordpiece_tables.h"
#include "wordpiece.h"
#include "wordpiece_runs.h"
#include "wordpiece_rows.h"
#endif
