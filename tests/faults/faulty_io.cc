// A library to be loaded before the C library (LD_PRELOAD): lets one call that touches a file fail,
// or kills the process at it.
//
//   FAULT_ROOT   calls count that touch files below this folder
//   FAULT_CALL   which: open, create, write, truncate, sync, rename, map, close; or any
//   FAULT_AT     which of them, from 1; 0: none
//   FAULT_KILL   set: the process is killed before that call is made
//   FAULT_LOG    where to append, at the end, how many calls there were
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

const char* setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Faults {
  const char *root = setting("FAULT_ROOT"), *call = setting("FAULT_CALL");
  long at = std::atol(setting("FAULT_AT"));
  bool kill = *setting("FAULT_KILL") != '\0';
  std::atomic<long> calls{0};

  ~Faults() {
    const char* log = setting("FAULT_LOG");
    std::FILE* file = *log == '\0' ? nullptr : std::fopen(log, "w");
    if (file == nullptr) return;
    std::fprintf(file, "%ld\n", calls.load());
    std::fclose(file);
  }
};

Faults& faults() {
  static Faults all;
  return all;
}

bool below_root(const char* path) {
  const char* root = faults().root;
  return *root != '\0' && path != nullptr && std::strncmp(path, root, std::strlen(root)) == 0;
}

bool below_root(int file) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t size = ::readlink(link, path, sizeof path - 1);
  if (size < 0) return false;
  path[size] = '\0';
  return below_root(path);
}

// Whether this call shall fail, with that error.
template <class Place>
bool fails(const char* call, Place place, int error) {
  const char* wanted = faults().call;
  if (std::strcmp(wanted, call) != 0 && std::strcmp(wanted, "any") != 0) return false;
  if (!below_root(place)) return false;
  if (++faults().calls != faults().at) return false;
  if (faults().kill) ::raise(SIGKILL);
  errno = error;
  return true;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}

const char* kind_of(int flags) { return (flags & O_CREAT) != 0 ? "create" : "open"; }

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  static auto* next = real<int(const char*, int, ...)>("open");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return fails(kind_of(flags), path, EACCES) ? -1 : next(path, flags, mode);
}

int mkostemp(char* path, int flags) {
  static auto* next = real<int(char*, int)>("mkostemp");
  return fails("create", static_cast<const char*>(path), EACCES) ? -1 : next(path, flags);
}

char* mkdtemp(char* path) {
  static auto* next = real<char*(char*)>("mkdtemp");
  return fails("create", static_cast<const char*>(path), EACCES) ? nullptr : next(path);
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  static auto* next = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return fails("write", file, ENOSPC) ? -1 : next(file, bytes, size, offset);
}

ssize_t write(int file, const void* bytes, size_t size) {
  static auto* next = real<ssize_t(int, const void*, size_t)>("write");
  return fails("write", file, ENOSPC) ? -1 : next(file, bytes, size);
}

int ftruncate(int file, off_t size) noexcept {
  static auto* next = real<int(int, off_t)>("ftruncate");
  return fails("truncate", file, EIO) ? -1 : next(file, size);
}

int fsync(int file) {
  static auto* next = real<int(int)>("fsync");
  return fails("sync", file, EIO) ? -1 : next(file);
}

int rename(const char* from, const char* to) noexcept {
  static auto* next = real<int(const char*, const char*)>("rename");
  return fails("rename", to, EIO) ? -1 : next(from, to);
}

void* mmap(void* address, size_t size, int protection, int flags, int file, off_t offset) noexcept {
  static auto* next = real<void*(void*, size_t, int, int, int, off_t)>("mmap");
  if (file >= 0 && fails("map", file, ENOMEM)) return MAP_FAILED;
  return next(address, size, protection, flags, file, offset);
}

int close(int file) {
  static auto* next = real<int(int)>("close");
  const bool failed = fails("close", file, EIO);
  const int result = next(file);
  if (!failed) return result;
  errno = EIO;
  return -1;
}

}  // extern "C"
