#include "service/pool/lock.h"

_Thread_local const char pool_thread_mark;
