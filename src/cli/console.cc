#include "console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "watersic/file.h"

namespace watersic::cli {

extern "C" void end_program(int signal) {
  remove_temporary_files();
  ::_exit(128 + signal);
}

void open_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number: this one's. stdout opened for reading fails where it is written.
    ::open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void say(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

namespace {

void write_to_stderr(const char* text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
}

extern "C" void lose_file(int signal, siginfo_t* info, void* /*context*/) {
  if (const char* path = mapped_file_at(info->si_addr)) {
    write_to_stderr("watersic: error: ");
    write_to_stderr(path);
    write_to_stderr(": became shorter, or could not be read, while it was in use\n");
    remove_temporary_files();
    ::_exit(1);
  }
  std::signal(signal, SIG_DFL);  // and it comes again
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if ((c >= 0 && c < ' ' && c != '\n') || c == '\x7f') {
      out += fmt::format("\\x{:02x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out;
}

void say_message(std::string_view text) {
  constexpr size_t kMost = 2000;
  say(fmt::format("watersic: {}{}\n", printable(text.substr(0, kMost)),
                  text.size() > kMost ? "..." : ""));
}

bool stdout_is_written() { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }

void end_on_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // Whoever starts it with nohup wants it to go on.
    if (std::signal(signal, end_program) == SIG_IGN) std::signal(signal, SIG_IGN);
  }
  std::signal(SIGPIPE, SIG_IGN);
  struct sigaction lost = {};
  lost.sa_sigaction = lose_file;
  lost.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &lost, nullptr);
}

}  // namespace watersic::cli
