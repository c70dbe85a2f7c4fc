#include "cli/console.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "cli/hints.h"
#include "cli/wrap.h"

namespace muster::cli {
namespace {

std::string_view Escape(Color color) {
  switch (color) {
    case Color::kNone:
      return "";
    case Color::kRed:
      return "\x1b[31m";
    case Color::kGreen:
      return "\x1b[32m";
    case Color::kYellow:
      return "\x1b[33m";
    case Color::kBlue:
      return "\x1b[34m";
    case Color::kMagenta:
      return "\x1b[35m";
    case Color::kCyan:
      return "\x1b[36m";
    case Color::kDim:
      return "\x1b[2m";
    case Color::kBold:
      return "\x1b[1m";
  }
  return "";
}

bool IsWide(uint32_t point) {
  return (point >= 0x1100 && point <= 0x115f) || (point >= 0x2e80 && point <= 0xa4cf) ||
         (point >= 0xac00 && point <= 0xd7a3) || (point >= 0xf900 && point <= 0xfaff) ||
         (point >= 0xfe30 && point <= 0xfe6f) || (point >= 0xff00 && point <= 0xff60) ||
         (point >= 0xffe0 && point <= 0xffe6) || (point >= 0x1f300 && point <= 0x1faff);
}

// One thing on the screen: an escape sequence (width 0) or a character.
struct Glyph {
  std::string_view bytes;
  size_t width;
};

Glyph NextGlyph(std::string_view text) {
  if (text.size() > 1 && text[0] == '\x1b' && text[1] == '[') {
    size_t end = 2;
    while (end < text.size() && (text[end] < '@' || text[end] > '~')) ++end;
    return {text.substr(0, end + 1), 0};
  }
  const auto first = static_cast<unsigned char>(text[0]);
  size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
  length = std::min(length, text.size());
  uint32_t point = length == 1 ? first : first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) point = point << 6 | (static_cast<unsigned char>(text[i]) & 0x3f);
  return {text.substr(0, length), IsWide(point) ? 2u : first < 0x20 ? 0u : 1u};
}

termios before_silence;

// What is typed isn't shown while one of these lives. Ctrl-C gives the terminal back as it was.
class Silence {
 public:
  Silence() {
    tcgetattr(STDIN_FILENO, &before_silence);
    struct sigaction action {};
    action.sa_handler = [](int) {
      tcsetattr(STDIN_FILENO, TCSADRAIN, &before_silence);
      _exit(130);
    };
    sigaction(SIGINT, &action, &before_action_);
    termios silent = before_silence;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &silent);
  }
  ~Silence() {
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before_silence);
    sigaction(SIGINT, &before_action_, nullptr);
  }

 private:
  struct sigaction before_action_ {};
};

void WriteAll(FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

std::string Paint(std::string_view text, Color color, bool on) {
  if (!on || color == Color::kNone || text.empty()) return std::string(text);
  return std::string(Escape(color)) + std::string(text) + "\x1b[0m";
}

size_t Width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const Glyph glyph = NextGlyph(text);
    width += glyph.width;
    text.remove_prefix(glyph.bytes.size());
  }
  return width;
}

std::string Fit(std::string_view text, size_t columns) {
  if (Width(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  std::string fitted;
  size_t width = 0;
  bool colored = false;
  while (!text.empty()) {
    const Glyph glyph = NextGlyph(text);
    if (width + glyph.width > columns - 1) break;
    colored |= glyph.bytes[0] == '\x1b';
    fitted += glyph.bytes;
    width += glyph.width;
    text.remove_prefix(glyph.bytes.size());
  }
  return fitted + "…" + (colored ? "\x1b[0m" : "");
}

std::string Pad(std::string_view text, size_t columns) {
  const size_t width = Width(text);
  return std::string(text) + std::string(width < columns ? columns - width : 0, ' ');
}

Console Console::Standard() {
  Console console;
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool plain = (no_color && *no_color) || (term && std::strcmp(term, "dumb") == 0);
  console.in_is_terminal = isatty(STDIN_FILENO) == 1;
  console.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  console.err_is_terminal = isatty(STDERR_FILENO) == 1;
  console.color = console.out_is_terminal && !plain;
  console.err_color = console.err_is_terminal && !plain;
  console.out = [](std::string_view text) { WriteAll(stdout, text); };
  console.err = [](std::string_view text) { WriteAll(stderr, text); };
  console.out_broken = [] { return std::ferror(stdout) != 0; };
  console.size = [] {
    winsize size{};
    for (const int terminal : {STDOUT_FILENO, STDERR_FILENO}) {
      if (ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return Size{size.ws_col, size.ws_row};
    }
    return Size{};
  };
  return console;
}

size_t Console::out_columns() const {
  return out_is_terminal && size ? static_cast<size_t>(std::max(0, size().columns)) : 0;
}
size_t Console::err_columns() const {
  return err_is_terminal && size ? static_cast<size_t>(std::max(0, size().columns)) : 0;
}

void Console::OutText(std::string_view text) const {
  out(text.empty() || text.back() != '\n' ? std::string(text) + "\n" : std::string(text));
}
void Console::OutLine(std::string_view line) const { out(WrapText(line, out_columns()) + "\n"); }
void Console::ErrLine(std::string_view line) const { err(WrapText(line, err_columns()) + "\n"); }

Error Addressed(const Console& console, const Error& error) {
  if (error.hint().empty()) return error;
  return Error(Error(error).Hint("{}", NameCluster(error.hint(), console.cluster_option)));
}

void PrintError(const Console& console, const Error& error) {
  console.ErrLine(Paint("error:", Color::kRed, console.err_color) + " " + Addressed(console, error).Text());
}

struct EchoOff::Before {
  termios settings{};
};

EchoOff::EchoOff(bool on) {
  // Who is in the background would be stopped for it.
  if (!on || tcgetpgrp(STDIN_FILENO) != getpgrp()) return;
  auto before = std::make_unique<Before>();
  if (tcgetattr(STDIN_FILENO, &before->settings) != 0) return;
  termios silent = before->settings;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &silent) == 0) before_ = std::move(before);
}

EchoOff::~EchoOff() {
  // What was typed meanwhile was for nobody: the shell would take it for commands.
  if (before_ && tcgetpgrp(STDIN_FILENO) == getpgrp()) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_->settings);
}

Result<std::string> Ask(const Console& console, std::string_view question, bool hidden) {
  if (!console.in_is_terminal) {
    return Error::Invalid("no-terminal", "there is no terminal to ask on");
  }
  std::optional<Silence> silence;
  if (hidden) silence.emplace();
  console.err(question);
  std::string line;
  char c = 0;
  while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
  if (hidden) console.err("\n");
  return line;
}

Result<std::string> ReadInput(size_t max_bytes) {
  std::string text;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > max_bytes) {
      return Error::Invalid("input-too-large", "more than {} bytes came on standard input", max_bytes);
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace muster::cli
