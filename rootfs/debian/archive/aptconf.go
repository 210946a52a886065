package archive

import (
	"fmt"
	"strings"
)

// A Setting is one of apt.conf(5): its name, with :: between the parts, in lower
// case, and its value.
type Setting struct{ Name, Value string }

// ParseConf reads the settings of a file. Those that clear others are left out.
func ParseConf(text string) ([]Setting, error) {
	p := &confParser{text: text}
	var list []Setting
	var scopes []string
	name := ""
	for {
		word, quoted, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case word == "" && !quoted:
			if len(scopes) > 0 {
				return nil, fmt.Errorf("line %d: a { without its }", p.line())
			}
			return list, nil
		case quoted:
			full := strings.Join(append(append([]string{}, scopes...), name), "::")
			list = append(list, Setting{strings.ToLower(strings.Trim(full, ":")), word})
		case word == "{":
			scopes, name = append(scopes, name), ""
		case word == "}":
			if len(scopes) == 0 {
				return nil, fmt.Errorf("line %d: a } without its {", p.line())
			}
			scopes, name = scopes[:len(scopes)-1], ""
		case word == ";":
			name = ""
		case name == "":
			name = word
		default: // a value without quotation marks
			full := strings.Join(append(append([]string{}, scopes...), name), "::")
			list = append(list, Setting{strings.ToLower(strings.Trim(full, ":")), word})
		}
	}
}

// A confParser takes words off a text.
type confParser struct {
	text string
	at   int
}

func (p *confParser) line() int { return 1 + strings.Count(p.text[:p.at], "\n") }

// next is the next word; empty and not quoted at the end.
func (p *confParser) next() (word string, quoted bool, err error) {
	p.space()
	if p.at == len(p.text) {
		return "", false, nil
	}
	switch c := p.text[p.at]; c {
	case '{', '}', ';':
		p.at++
		return string(c), false, nil
	case '"':
		end := strings.IndexByte(p.text[p.at+1:], '"')
		if end < 0 {
			return "", false, fmt.Errorf("line %d: a \" without its end", p.line())
		}
		word = p.text[p.at+1 : p.at+1+end]
		p.at += end + 2
		return word, true, nil
	}
	rest := p.text[p.at:]
	n := strings.IndexAny(rest, " \t\r\n\"{};")
	if n < 0 {
		n = len(rest)
	}
	p.at += n
	return rest[:n], false, nil
}

// space goes past white space and comments.
func (p *confParser) space() {
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			p.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			p.at += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				n = len(rest) - 2
			}
			p.at += n + 2
		default:
			return
		}
	}
}
