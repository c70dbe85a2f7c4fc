// The terminal, or the pipes in its place. What works on texts alone is pure; the rest is for the command's
// one thread, where writing blocks for as long as the reader takes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::cli {

struct Size {
  int columns = 80;
  int rows = 24;
};

enum class Color { kNone, kRed, kGreen, kYellow, kBlue, kMagenta, kCyan, kDim, kBold };
// `text` in `color`, or as it is where `on` is false.
std::string Paint(std::string_view text, Color color, bool on);

// Columns that `text` takes on a terminal: escape sequences take none, wide East Asian characters two.
size_t Width(std::string_view text);
// The start of `text` that fits into `columns`, ending in "…" where something was cut. Escape sequences are
// kept whole and colour is reset at the cut.
std::string Fit(std::string_view text, size_t columns);
// `text` and as many blanks as `columns` asks for.
std::string Pad(std::string_view text, size_t columns);

struct Console {
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool color = false;      // standard output is a terminal and NO_COLOR is unset
  bool err_color = false;  // the same for standard error
  std::function<void(std::string_view)> out;
  std::function<void(std::string_view)> err;
  std::function<Size()> size;
  std::string cluster_option;  // " -c NAME" where hints have to say which cluster is meant
  // Whether nobody reads standard output any more: whoever prints without end stops then. May be unset.
  std::function<bool()> out_broken;

  // The process's own.
  static Console Standard();
  // Columns that lines may take: of a terminal, else 0 for any number.
  size_t out_columns() const;
  size_t err_columns() const;
  // For programs, or of a file: as it is. Ends with a newline, whether `text` does or not.
  void OutText(std::string_view text) const;
  // For people: a line, or several, that a terminal shows broken between words.
  void OutLine(std::string_view line) const;
  void ErrLine(std::string_view line) const;
};

// `error` with hints that name the cluster, as they are to be typed here.
Error Addressed(const Console& console, const Error& error);
// Prints "error: message [code]" and below it the hint and the evidence.
void PrintError(const Console& console, const Error& error);

// While one lives, what is typed doesn't show in the picture that is drawn: a typed Enter would move the
// lines. Ctrl-C and the others go on to work. Nothing happens where `on` is false or another group of
// processes has the terminal.
class EchoOff {
 public:
  explicit EchoOff(bool on);
  ~EchoOff();
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  struct Before;
  std::unique_ptr<Before> before_;
};

// Asks on the terminal; what is typed is not shown where `hidden`. Code "no-terminal" where there is none.
Result<std::string> Ask(const Console& console, std::string_view question, bool hidden);
// All of standard input, without one newline at its end; blocks until it ends. Code "input-too-large".
Result<std::string> ReadInput(size_t max_bytes);

}  // namespace muster::cli
