/* Walk over messages that only pass.
 *
 * The same as passing.py, which says what the function takes and returns.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

#define HEADER 5
#define TYPES 256

static PyObject *
passing_pass_over(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *chunk, *actions;
    Py_ssize_t position, last;
    long long limit;

    if (count != 4 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[2])
        || PyBytes_GET_SIZE(args[2]) != TYPES) {
        PyErr_SetString(PyExc_TypeError,
                        "pass_over takes bytes, a position, 256 bytes, a limit");
        return NULL;
    }
    chunk = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    actions = (const unsigned char *)PyBytes_AS_STRING(args[2]);
    position = PyLong_AsSsize_t(args[1]);
    limit = PyLong_AsLongLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (position < 0) {
        PyErr_SetString(PyExc_ValueError, "the position is negative");
        return NULL;
    }
    last = PyBytes_GET_SIZE(args[0]) - HEADER;
    while (position <= last && !actions[chunk[position]]) {
        const unsigned char *at = chunk + position + 1;
        uint32_t length = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16
                          | (uint32_t)at[2] << 8 | (uint32_t)at[3];
        if (length < HEADER - 1 || length >= limit)
            break;
        position += (Py_ssize_t)length + 1;
    }
    return PyLong_FromSsize_t(position);
}

static PyMethodDef functions[] = {
    {"pass_over", (PyCFunction)(void (*)(void))passing_pass_over, METH_FASTCALL,
     "Return where the first message begins that needs a look."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pgswitch.wire.passing",
    .m_doc = "Walk over messages that only pass.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit_passing(void)
{
    return PyModuleDef_Init(&definition);
}
