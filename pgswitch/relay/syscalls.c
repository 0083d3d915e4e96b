/* The four system calls of the hot path, for sockets that never block.
 *
 * The same as syscalls.py, which says what each function takes, returns and raises.
 * read and write keep the interpreter lock: on a non-blocking socket they cannot
 * wait.  Only wait, which can, releases it.
 */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SMALL 8192
#define MAX_EVENTS 256

static int
descriptor_of(PyObject *number, int *descriptor)
{
    long value = PyLong_AsLong(number);

    if (value == -1 && PyErr_Occurred())
        return -1;
    *descriptor = (int)value;
    return 0;
}

static PyObject *
syscalls_read(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    static char small[SMALL];
    PyObject *result;
    Py_ssize_t size, got;
    int descriptor;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "read takes a descriptor and a size");
        return NULL;
    }
    if (descriptor_of(args[0], &descriptor) < 0)
        return NULL;
    size = PyLong_AsSsize_t(args[1]);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    if (size <= SMALL) {
        /* Nearly every read of a small size gets less: copy what there is. */
        got = recv(descriptor, small, size, 0);
        if (got < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        return PyBytes_FromStringAndSize(small, got);
    }
    result = PyBytes_FromStringAndSize(NULL, size);
    if (result == NULL)
        return NULL;
    got = recv(descriptor, PyBytes_AS_STRING(result), size, 0);
    if (got < 0) {
        Py_DECREF(result);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (got != size)
        _PyBytes_Resize(&result, got);
    return result;
}

static PyObject *
syscalls_write(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t sent;
    int descriptor;

    if (count != 2 || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "write takes a descriptor and bytes");
        return NULL;
    }
    if (descriptor_of(args[0], &descriptor) < 0)
        return NULL;
    sent = send(descriptor, PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]),
                MSG_NOSIGNAL);
    if (sent < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromSsize_t(sent);
}

static PyObject *
syscalls_wait(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct epoll_event events[MAX_EVENTS];
    static int was_ready = 1;
    PyObject *result;
    double timeout;
    long most;
    int descriptor, found, milliseconds, index;

    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "wait takes a poller, seconds, a number");
        return NULL;
    }
    descriptor = PyObject_AsFileDescriptor(args[0]);
    if (descriptor < 0)
        return NULL;
    timeout = PyFloat_AsDouble(args[1]);
    most = PyLong_AsLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (most > MAX_EVENTS)
        most = MAX_EVENTS;
    if (timeout < 0)
        milliseconds = -1;
    else
        milliseconds = timeout > 1e6 ? 1000000000 : (int)ceil(timeout * 1e3);
    /* A first look without releasing the lock pays while there is much to do.  After
     * one that found nothing, it pays again once a wait has found several events. */
    found = 0;
    if (was_ready || milliseconds == 0) {
        found = epoll_wait(descriptor, events, (int)most, 0);
        was_ready = found != 0;
    }
    if (found == 0 && milliseconds != 0) {
        Py_BEGIN_ALLOW_THREADS
        found = epoll_wait(descriptor, events, (int)most, milliseconds);
        Py_END_ALLOW_THREADS
        was_ready = found > 1;
    }
    if (found < 0) {
        if (errno != EINTR)
            return PyErr_SetFromErrno(PyExc_OSError);
        if (PyErr_CheckSignals() < 0)
            return NULL;
        found = 0;
    }
    result = PyList_New(found);
    if (result == NULL)
        return NULL;
    for (index = 0; index < found; index++) {
        PyObject *event = PyTuple_New(2);
        PyObject *number = PyLong_FromLong(events[index].data.fd);
        PyObject *flags = PyLong_FromLong((long)events[index].events);
        if (event == NULL || number == NULL || flags == NULL) {
            Py_XDECREF(event);
            Py_XDECREF(number);
            Py_XDECREF(flags);
            Py_DECREF(result);
            return NULL;
        }
        PyTuple_SET_ITEM(event, 0, number);
        PyTuple_SET_ITEM(event, 1, flags);
        PyList_SET_ITEM(result, index, event);
    }
    return result;
}

static PyObject *
name_of(const struct sockaddr_storage *address)
{
    char host[INET6_ADDRSTRLEN];

    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        return Py_BuildValue("(si)", host, (int)ntohs(four->sin_port));
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
        return Py_BuildValue("(siII)", host, (int)ntohs(six->sin6_port),
                             (unsigned)ntohl(six->sin6_flowinfo),
                             (unsigned)six->sin6_scope_id);
    }
    return Py_BuildValue("(si)", "", 0);
}

static PyObject *
syscalls_accept(PyObject *module, PyObject *listener)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    PyObject *name, *result;
    int descriptor, listening = PyObject_AsFileDescriptor(listener);

    if (listening < 0)
        return NULL;
    descriptor = accept4(listening, (struct sockaddr *)&address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    name = name_of(&address);
    result = name == NULL ? NULL : Py_BuildValue("(iN)", descriptor, name);
    if (result == NULL)
        close(descriptor);
    return result;
}

static PyMethodDef functions[] = {
    {"read", (PyCFunction)(void (*)(void))syscalls_read, METH_FASTCALL,
     "Return at most so many bytes, none at the end."},
    {"write", (PyCFunction)(void (*)(void))syscalls_write, METH_FASTCALL,
     "Return how many of the bytes the kernel took."},
    {"wait", (PyCFunction)(void (*)(void))syscalls_wait, METH_FASTCALL,
     "Return events of an epoll; none after some seconds."},
    {"accept", syscalls_accept, METH_O,
     "Return the descriptor of a new connection, and where it comes from."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pgswitch.relay.syscalls",
    .m_doc = "The four system calls of the hot path.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit_syscalls(void)
{
    return PyModuleDef_Init(&definition);
}
