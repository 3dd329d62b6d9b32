/* Python 3.11 dropped this header, which Ice 3.6.5 still includes; Python.h declares PyEval_* itself. */
#include <Python.h>
