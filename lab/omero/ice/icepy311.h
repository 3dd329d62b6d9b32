/* Included before every source of Ice 3.6.5's Python extension, so that it compiles for CPython 3.11 and later.
   Ice reads PyThreadState_GET()->frame, which 3.11 hid behind PyThreadState_GetFrame(). */
#ifdef __cplusplus
#include <Python.h>
#include <frameobject.h>
#if PY_VERSION_HEX >= 0x030B0000

struct icepy_thread_state { PyFrameObject *frame; };

struct icepy_thread_state_ptr {
    icepy_thread_state state;
    icepy_thread_state *operator->() { return &state; }
};

static inline icepy_thread_state_ptr icepy_thread_state_get() {
    icepy_thread_state_ptr ptr;
    ptr.state.frame = PyThreadState_GetFrame(PyThreadState_Get());
    Py_XDECREF((PyObject *)ptr.state.frame);  /* Ice expects a borrowed reference, as tstate->frame was */
    return ptr;
}

#undef PyThreadState_GET
#define PyThreadState_GET() icepy_thread_state_get()
#endif
#endif
