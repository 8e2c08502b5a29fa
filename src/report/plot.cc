#include "report/plot.h"

#include <algorithm>
#include <cmath>

namespace watersic::report {
namespace {

constexpr double kLine = 15;  // pixels from one name to the next

std::string shortened(const std::string& text) {
  constexpr size_t kMost = 24;
  return text.size() <= kMost ? text : std::string(head_of(text, kMost - 1)) + "…";
}

}  // namespace

Plot::Plot(Axis x, Axis y, int height, std::string spoken, std::string css)
    : x_(std::move(x)),
      y_(std::move(y)),
      height_(height),
      spoken_(std::move(spoken)),
      css_(std::move(css)) {}

void Plot::curve(const std::vector<Point>& points, size_t colour) {
  if (points.size() < 2) return;
  std::string path;
  for (const Point& p : points)
    path += fmt::format("{}{:.2f} {:.2f}", path.empty() ? "M" : "L", across(p.x), down(p.y));
  content_.add(
      "<svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" class=\"c{}\">"
      "<path class=\"curve\" d=\"{}\"/></svg>",
      colour % kColours, path);
}

void Plot::mark(Point at, size_t colour, const std::string& tip) {
  content_.add(
      "<g class=\"mark c{}\" data-tip=\"{}\"><circle class=\"hit\" cx=\"{:.2f}%\" cy=\"{:.2f}%\" "
      "r=\"11\"/><use href=\"#m{}\" x=\"{:.2f}%\" y=\"{:.2f}%\"/></g>",
      colour % kColours, tip, across(at.x), down(at.y), colour % kMarks, across(at.x), down(at.y));
}

void Plot::dot(Point at, size_t colour) {
  content_.add("<circle class=\"dot c{}\" cx=\"{:.2f}%\" cy=\"{:.2f}%\"/>", colour % kColours,
               across(at.x), down(at.y));
}

void Plot::stem(double x, double from, double to, size_t colour, const std::string& css) {
  content_.add(
      "<line class=\"stem c{} {}\" x1=\"{:.2f}%\" x2=\"{:.2f}%\" y1=\"{:.2f}%\" y2=\"{:.2f}%\"/>",
      colour % kColours, css, across(x), across(x), down(from), down(to));
}

void Plot::bar(double left, double right, double from, double to, size_t colour,
               const std::string& tip) {
  content_.add(
      "<g data-tip=\"{}\"><rect class=\"hit\" x=\"{:.2f}%\" y=\"0\" width=\"{:.2f}%\" "
      "height=\"100%\"/><rect class=\"bar c{}\" x=\"{:.2f}%\" y=\"{:.2f}%\" width=\"{:.2f}%\" "
      "height=\"{:.2f}%\"/></g>",
      tip, across(left), across(right) - across(left), colour % kColours, across(left), down(to),
      across(right) - across(left), down(from) - down(to));
}

void Plot::dash(Point at, size_t count, const std::string& css) {
  const double half = 38 / static_cast<double>(std::max<size_t>(count, 1));
  content_.add(
      "<line class=\"dash {}\" x1=\"{:.2f}%\" x2=\"{:.2f}%\" y1=\"{:.2f}%\" y2=\"{:.2f}%\"/>", css,
      across(at.x) - half, across(at.x) + half, down(at.y), down(at.y));
}

// Below the line, since what is compared with it mostly stands above; above it near the axis.
void Plot::rule(double y, const std::string& label) {
  const bool room = down(y) / 100 * height_ < height_ - kLine;
  content_.add(
      "<line class=\"rule\" x1=\"0\" x2=\"100%\" y1=\"{0:.2f}%\" y2=\"{0:.2f}%\"/>"
      "<text class=\"rule-name\" x=\"0\" dx=\"4\" y=\"{0:.2f}%\" dy=\"{1}\">{2}</text>",
      down(y), room ? 14 : -5, label);
}

void Plot::rule_at(double x, const std::string& label) {
  const bool right = across(x) > 60;
  content_.add(
      "<line class=\"rule\" x1=\"{:.2f}%\" x2=\"{:.2f}%\" y1=\"0\" y2=\"100%\"/>"
      "<text class=\"rule-name\" x=\"{:.2f}%\" dx=\"{}\" y=\"0\" dy=\"11\" "
      "text-anchor=\"{}\">{}</text>",
      across(x), across(x), across(x), right ? -5 : 5, right ? "end" : "start", label);
}

void Plot::area(double x, size_t count, const std::string& tip) {
  const double width = 100 / static_cast<double>(std::max<size_t>(count, 1));
  content_.add(
      "<rect class=\"hit\" x=\"{:.2f}%\" y=\"0\" width=\"{:.2f}%\" height=\"100%\" "
      "data-tip=\"{}\"/>",
      across(x) - width / 2, width, tip);
}

void Plot::name(Point at, const std::string& text, size_t colour) {
  names_.push_back({.left = across(at.x),
                    .top = down(at.y) / 100 * height_,
                    .text = shortened(text),
                    .colour = colour % kColours});
}

// In the order of their points from top to bottom; those that would cover each other are moved
// apart.
Html Plot::names() const {
  std::vector<Name> sorted = names_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Name& a, const Name& b) { return a.top < b.top; });
  for (int round = 0; round < 1000; ++round) {
    bool moved = false;
    for (size_t i = 0; i < sorted.size(); ++i) {
      for (size_t j = i + 1; j < sorted.size(); ++j) {
        const double missing = kLine - (sorted[j].top - sorted[i].top);
        if (missing <= 0 || std::abs(sorted[j].left - sorted[i].left) > 45) continue;
        moved = moved || missing > 0.5;
        sorted[i].top -= missing / 2;
        sorted[j].top += missing / 2;
      }
    }
    // Neither on the title nor on the ticks.
    for (Name& name : sorted) name.top = std::clamp(name.top, 4.0, static_cast<double>(height_));
    if (!moved) break;
  }
  Html out;
  for (const Name& name : sorted)
    out.add("<text class=\"name c{}\" x=\"{:.2f}%\" dx=\"10\" y=\"{:.1f}\" dy=\"4\">{}</text>",
            name.colour, name.left, name.top, name.text);
  return out;
}

Html Plot::html() const {
  Html grid;
  for (const Axis::Tick& tick : y_.ticks()) {
    grid.add(
        "<line class=\"grid y\" x1=\"0\" x2=\"100%\" y1=\"{0:.2f}%\" y2=\"{0:.2f}%\"/>"
        "<text class=\"y\" x=\"0\" dx=\"-7\" y=\"{0:.2f}%\" dy=\"4\" "
        "text-anchor=\"end\">{1}</text>",
        down(tick.value), tick.label);
  }
  grid.add("<line class=\"base\" x1=\"0\" x2=\"100%\" y1=\"100%\" y2=\"100%\"/>");
  // Where there is little room every other one of many labels goes.
  const bool many = x_.ticks().size() > 7;
  for (size_t i = 0; i < x_.ticks().size(); ++i)
    grid.add(
        "<text class=\"{}\" x=\"{:.2f}%\" y=\"100%\" dy=\"17\" text-anchor=\"middle\">{}</text>",
        many && i % 2 == 1 ? "minor" : "", across(x_.ticks()[i].value), x_.ticks()[i].label);
  if (!across_is_.empty())
    grid.add("<text x=\"100%\" y=\"100%\" dy=\"34\" text-anchor=\"end\">{}</text>", across_is_);
  // Names that have no room on the whole height are in the legend only.
  const bool named = static_cast<double>(names_.size()) * kLine < height_;
  size_t longest = 0, widest = 0;
  for (const Name& name : names_) longest = std::max(longest, name.text.size());
  for (const Axis::Tick& tick : y_.ticks()) widest = std::max(widest, tick.label.size());
  return report::html(
      "<div class=\"plot {}\" style=\"--h:{}px;--names:{}px;--ticks:{}px\"><svg class=\"drawing\" "
      "role=\"img\" "
      "aria-label=\"{}\">{}{}{}</svg></div>",
      css_ + (across_is_.empty() ? "" : " across") + (named ? "" : " nameless"), height_,
      named ? 18 + 7 * longest : 0, 10 + 7 * widest, spoken_, grid, content_,
      named ? names() : Html());
}

Html mark_definitions() {
  const char* kPaths[kMarks] = {"M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z",  // circle
                                "M-4 -4H4V4H-4Z",                                     // square
                                "M0 -5.2L5 3.9H-5Z",                                  // triangle
                                "M0 -5.6L5.2 0L0 5.6L-5.2 0Z",                        // diamond
                                "M0 5.2L5 -3.9H-5Z",  // triangle on its head
                                "M-1.5 -5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z"};  // cross
  Html paths;
  for (size_t i = 0; i < kMarks; ++i) paths.add("<path id=\"m{}\" d=\"{}\"/>", i, kPaths[i]);
  return html("<svg class=\"definitions\" aria-hidden=\"true\"><defs>{}</defs></svg>", paths);
}

Html legend_entry(const std::string& name, size_t colour) {
  return html(
      "<span class=\"entry\"><svg class=\"key c{}\" aria-hidden=\"true\"><use href=\"#m{}\" "
      "x=\"7\" y=\"7\"/></svg>{}</span>",
      colour % kColours, colour % kMarks, name);
}

}  // namespace watersic::report
